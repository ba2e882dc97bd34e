"""What a run says of where its time went."""

import pytest

from pool3.telemetry import advice


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ({}, ""),
        ({"wait": 0.4, "forward": 0.1, "read": 0.5}, ""),  # too short to tell
        ({"wait": 1.0, "forward": 9.0, "read": 0.1}, ""),
        ({"wait": 6.0, "forward": 4.0, "read": 0.5}, "60% of the time, for decoding"),
        ({"wait": 6.0, "forward": 4.0, "read": 9.5}, "60% of the time, for reading"),
        ({"wait": 2.0, "forward": 8.0, "read": 0.5, "seal": 100.0}, "20% of the time, for decoding"),
    ],
)
def test_who_waits_is_told_what_to_change(stages, expected) -> None:
    found = advice(stages)
    assert expected in found
    assert bool(expected) == bool(found)
    if "reading" in expected:
        assert "quicker disk" in found
    elif expected:
        assert "--workers" in found
        assert "--fast-decode" in found
