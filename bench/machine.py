"""Which machine, with which libraries, from which commit: what a figure is worthless without."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from bench.threads import cores
from pool3.doctor import diagnose

_SETTINGS = ("TF_", "ONEDNN_", "DNNL_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "XLA_", "CUDA_", "NVIDIA_TF32")
"""How names of environment variables begin that change how quick a library is; values with a path are left out."""


def fingerprint() -> dict[str, Any]:
    """The machine and the software, JSON-able; nothing that names its user or its folders."""
    import tensorflow as tf
    from threadpoolctl import threadpool_info

    facts = diagnose()
    kept = {
        k: facts[k]
        for k in ("python", "platform", "cpu", "memory_bytes", "nvml", "device", "precision", "libraries")
    }
    kept["cpu"] = facts["cpu"] | {"usable": cores()}
    commit = facts["pool3"]["commit"]
    build = tf.sysconfig.get_build_info()
    return kept | {
        "pool3": {
            "version": facts["pool3"]["version"],
            "commit": commit.removesuffix("-dirty"),
            "dirty": commit.endswith("-dirty"),
        },
        "tensorflow": {k: facts["tensorflow"][k] for k in ("version", "cuda_build", "gpus", "onednn")}
        | {k: str(build.get(f"{k}_version", "")) for k in ("cuda", "cudnn")},
        "settings": {
            k: v for k, v in sorted(os.environ.items()) if k.startswith(_SETTINGS) and os.sep not in v
        },
        "threads": {
            "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
            "pools": {
                f"{pool['user_api']} {pool['internal_api']} {pool['version'] or ''}".strip(): pool[
                    "num_threads"
                ]
                for pool in threadpool_info()
            },
        },
        "garbage_collection": "off while a sample is taken, a full collection before each",
    }


def short(machine: Mapping[str, Any]) -> str:
    """The hardware of a fingerprint in a line: what must be alike for times to be compared."""
    cpu, gpus = machine["cpu"], [gpu["name"] for gpu in machine["nvml"]["gpus"]]
    gib = round((machine["memory_bytes"] or 0) / 2**30)
    flags = " ".join(sorted(cpu["flags"]))
    return ", ".join([f"{cpu['model']} × {cpu['cores']} ({flags})", f"{gib} GiB", *gpus])


def fingerprint_id(machine: Mapping[str, Any]) -> str:
    """Twelve digits that stand for the same hardware."""
    return hashlib.sha256(short(machine).encode()).hexdigest()[:12]
