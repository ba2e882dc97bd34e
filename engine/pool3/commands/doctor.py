"""``pool3 doctor``: what will run here, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Show devices, precision, libraries, weights and free disk; put it into bug reports."""
    from pool3.commands.output import note, print_aligned, print_json
    from pool3.runtime import quiet_start

    with quiet_start():
        from pool3.doctor import diagnose

        facts = diagnose()
    if json:
        print_json(facts)
        return
    print_aligned(_rows(facts))
    if facts["warning"]:
        note(facts["warning"])


def _rows(facts: dict[str, Any]) -> dict[str, str]:
    tensorflow, cpu, nvml = facts["tensorflow"], facts["cpu"], facts["nvml"]
    rows = {
        "pool3": f"{facts['pool3']['version']} {facts['pool3']['commit'][:12]} ({facts['pool3']['path']})",
        "python": f"{facts['python']} on {facts['platform']}",
        "cpu": f"{cpu['model']}, {cpu['cores']} cores ({' '.join(cpu['flags']) or 'no known vector extensions'})",
        "memory": f"{facts['memory_bytes'] / 2**30:.1f} GiB",
        "nvml": ", ".join(gpu["name"] for gpu in nvml["gpus"]) or nvml["reason"],
        "tensorflow": f"{tensorflow['version']}, GPUs: {', '.join(tensorflow['gpus']) or 'none'}",
        "why no GPU": tensorflow["why_no_gpu"],
        "runs on": f"{facts['device']}, {facts['precision']}",
        "libraries": ", ".join(f"{name} {version}" for name, version in facts["libraries"].items()),
        "free disk": f"{facts['free_disk_bytes'] / 2**30:.1f} GiB here",
    }
    return rows | {f"weights of {name}": state for name, state in facts["weights"].items()}
