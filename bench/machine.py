"""Which machine, with which libraries, from which commit: what a figure is worthless without."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pool3.doctor import diagnose


def fingerprint() -> dict[str, Any]:
    """The machine and the software, JSON-able; nothing that names its user or its folders."""
    import tensorflow as tf

    facts = diagnose()
    kept = {
        k: facts[k]
        for k in ("python", "platform", "cpu", "memory_bytes", "nvml", "device", "precision", "libraries")
    }
    commit = facts["pool3"]["commit"]
    return kept | {
        "pool3": {
            "version": facts["pool3"]["version"],
            "commit": commit.removesuffix("-dirty"),
            "dirty": commit.endswith("-dirty"),
        },
        "tensorflow": {k: facts["tensorflow"][k] for k in ("version", "cuda_build", "gpus", "onednn")},
        "threads": {
            "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        },
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
