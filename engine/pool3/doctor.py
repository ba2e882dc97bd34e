"""What will run on this machine, and why: the first thing to ask for in a bug report."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pool3 import devices, nvml, provenance
from pool3._version import __version__
from pool3.backbones import BACKBONES
from pool3.errors import Pool3Error, WeightsNotFoundError


def diagnose(folder: Path = Path()) -> dict[str, Any]:
    """Collect the facts, JSON-able.

    Args:
        folder: where outputs would go; its free disk space is reported.
    """
    import tensorflow as tf

    driver = nvml.query()
    placement = devices.choose_devices("auto")
    gpus = [gpu.name for gpu in tf.config.list_physical_devices("GPU")]
    return {
        "pool3": {"version": __version__, "commit": provenance.commit(), "path": str(Path(__file__).parent)},
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": {"model": devices.cpu_model(), "cores": os.cpu_count(), "flags": devices.cpu_flags()},
        "memory_bytes": memory_bytes(),
        "nvml": {
            "driver": driver.driver,
            "gpus": [gpu.to_dict() for gpu in driver.gpus],
            "reason": driver.reason,
        },
        "tensorflow": {
            "version": tf.__version__,
            "cuda_build": bool(tf.test.is_built_with_cuda()),
            "gpus": gpus,
            "why_no_gpu": "" if gpus else devices.why_no_gpu(),
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        },
        "device": placement.description,
        "warning": placement.warning,
        "precision": "{}: {}".format(*devices.choose_precision(placement)),
        "libraries": provenance.libraries() | optional_libraries(),
        "weights": {name: weights_state(name) for name in BACKBONES},
        "free_disk_bytes": shutil.disk_usage(folder).free,
    }


def memory_bytes() -> int:
    """Physical memory; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def optional_libraries() -> dict[str, str]:
    """Versions of the libraries that are used where they are installed; absent ones say so."""
    found = {}
    for name in ("scikit-learn", "scikit-learn-intelex", "cuml-cu12", "faiss-cpu", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def weights_state(backbone: str) -> str:
    """Where a backbone's default weights are, or why they are not there."""
    from pool3.weights import locate

    try:
        return str(locate(BACKBONES[backbone]))
    except WeightsNotFoundError:
        return f"not here; `pool3 weights fetch {backbone}` gets them, or says how to"
    except Pool3Error as error:
        return str(error)
