"""Which machine, with which libraries, from which commit: what a figure is worthless without."""

from __future__ import annotations

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
