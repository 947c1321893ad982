"""Durations as people read them."""

import pytest

from orchestrator.report.wording import took


@pytest.mark.parametrize(
    "duration_s, text",
    [
        (0, "0ms"),
        (0.0042, "4ms"),
        (0.0994, "99ms"),
        (0.0996, "0.1s"),
        (8.14, "8.1s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (7640, "2h07m"),
        (200_000, "55h33m"),
    ],
)
def test_a_duration_has_two_units_at_most(duration_s: float, text: str) -> None:
    """Nothing is shown finer than it matters, and no unit ever reads 60."""
    assert took(duration_s) == text
