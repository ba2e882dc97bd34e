"""What tests ask of a network's graph."""

from typing import Any


def waiting(graph: Any) -> int:
    """Operations that wait for another one's end, as the branches of a lane do."""
    return sum(op.type == "Identity" and bool(op.control_inputs) for op in graph.get_operations())
