"""Durations as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.durations import DURATION_PATTERN, LONGEST_S, parse_duration, render_duration


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1d2h3m4s5ms", 93784.005),
        ("1.5h", 5400),
        ("0.25s", 0.25),
        ("90", 90),
        ("2.5", 2.5),
        (".5", 0.5),
        ("1e3", 1000),
        ("+7", 7),
        (" 30s ", 30),
        ("30d", LONGEST_S),
    ],
)
def test_what_people_write(text: str, seconds: float) -> None:
    """Units from the largest to the smallest, each once, or a number of seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text, says",
    [
        *(
            (text, "is not a duration")
            for text in ("", "x", "30 min", "5M", "30m1h", "1h1h", "1h 30m", "12:30:00", "s")
        ),
        *((text, "is not a duration") for text in (".inf", "nan", "0x10", "1_000", "1.h", "--1", "٣s")),
        *((text, "must be above 0") for text in ("0", "0s", "-5", "0ms", "1e-999")),
        *((text, "is longer than 30d") for text in ("31d", "1e999", "2592000.1")),
        ("9" * 100, "is too long"),
    ],
)
def test_what_is_none(text: str, says: str) -> None:
    """Everything else is refused in words that say what to write."""
    with pytest.raises(ValueError, match=says):
        parse_duration(text)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0s"),
        (0.5, "500ms"),
        (2.5, "2.5s"),
        (60, "1m"),
        (5400, "1h30m"),
        (90061.25, "1d1h1m1.25s"),
        (3600.5, "1h0.5s"),
    ],
)
def test_rendering(seconds: float, text: str) -> None:
    """A duration is shown as short as it is written."""
    assert render_duration(seconds) == text


@given(st.floats(min_value=0.001, max_value=LONGEST_S))
def test_rendered_durations_are_read_back(seconds: float) -> None:
    """What is shown can be written into a manifest, to the millisecond."""
    assert math.isclose(parse_duration(render_duration(seconds)), seconds, rel_tol=0, abs_tol=0.000_51)


@given(st.text(alphabet="0123456789.dhms e+-", max_size=12))
def test_the_pattern_is_not_stricter(text: str) -> None:
    """Whatever is read as a duration passes an editor's check of its text."""
    import re

    try:
        parse_duration(text)
    except ValueError:
        return
    if text == text.strip() and not text.startswith("+"):
        assert re.search(DURATION_PATTERN, text)
