"""Retry-After: seconds, fractions, dates against the server's own clock; nonsense is ignored, never an error."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.verdict import LONGEST_S, retry_after_s

NOW = datetime(2026, 11, 25, 2, 0, 0, tzinfo=UTC)


def _imf(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    "text, wait_s",
    [
        *(("4", 4.0), (" 4 ", 4.0), ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("007", 7.0), ("600", 600.0)),
        *(("601", LONGEST_S), ("99999999999999999999", LONGEST_S), ("9" * 5000, LONGEST_S)),
    ],
)
def test_seconds(text: str, wait_s: float) -> None:
    """Seconds are taken as they are, with fractions; more than ten minutes count as ten."""
    assert retry_after_s({"Retry-After": text}, NOW) == wait_s


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0.0", "-1", "-0", "+5", "nan", "inf", "-inf", "1e999", "1e3", "0x10", "5s", "5 seconds", "soon"),
        *("٣", "5,10", "2026-11-25T02:00:04Z", "Wed", "Wed, 99 Foo 2026", "Wed, 25 Nov 99999 02:00:00 GMT", "\x00"),
        *("Wed, 25 Nov 2026 01:59:59 GMT", "Wed, 25 Nov 2026 02:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +1400"),
    ],
)
def test_nonsense_is_no_wait(text: str) -> None:
    """What is no positive wait is ignored: the caller's own backoff is better than a guess."""
    assert retry_after_s({"Retry-After": text}, NOW) is None


def test_no_header_is_no_wait() -> None:
    """Without the header there is nothing to obey."""
    assert retry_after_s({}, NOW) is None


@pytest.mark.parametrize(
    "text", ["Wed, 25 Nov 2026 02:00:04 GMT", "Wednesday, 25-Nov-26 02:00:04 GMT", "Wed Nov 25 02:00:04 2026"]
)
def test_each_form_of_a_date(text: str) -> None:
    """All three forms of an HTTP date are read."""
    assert retry_after_s({"Retry-After": text}, NOW) == 4.0


@pytest.mark.parametrize("skew", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=-400)])
def test_a_date_is_measured_against_the_servers_clock(skew: timedelta) -> None:
    """A server whose clock is wrong still gets exactly the pause that it asks for."""
    headers = {"Date": _imf(NOW + skew), "Retry-After": _imf(NOW + skew + timedelta(seconds=4))}
    assert retry_after_s(headers, NOW) == 4.0


def test_a_broken_date_header_falls_back_to_our_clock() -> None:
    """A `Date` that cannot be read does not change the wait."""
    assert retry_after_s({"Date": "yesterday", "Retry-After": _imf(NOW + timedelta(seconds=9))}, NOW) == 9.0


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_breaks_it(retry_after: str, date: str) -> None:
    """Whatever the headers hold, the wait is None or within its bounds."""
    wait_s = retry_after_s({"Retry-After": retry_after, "Date": date}, NOW)
    assert wait_s is None or 0 < wait_s <= LONGEST_S


@given(
    st.floats(min_value=0.001, max_value=600, allow_nan=False).map(lambda wait_s: f"{wait_s:.3f}"),
)
def test_every_wait_in_bounds_is_kept(text: str) -> None:
    """A wait up to ten minutes is obeyed to the millisecond."""
    assert retry_after_s({"Retry-After": text}, NOW) == (float(text) or None)


@given(st.integers(min_value=1, max_value=10_000), st.integers(min_value=-(10**9), max_value=10**9))
def test_every_date_ahead_is_a_wait(ahead_s: int, skew_s: int) -> None:
    """A date that lies ahead of the server's clock is the wait between the two, whatever that clock shows."""
    server = NOW + timedelta(seconds=skew_s)
    headers = {"Date": _imf(server), "Retry-After": _imf(server + timedelta(seconds=ahead_s))}
    assert retry_after_s(headers, NOW) == min(ahead_s, LONGEST_S)
