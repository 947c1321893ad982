"""A native schedule in words, and when it runs next."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.answers import RefreshSchedule
from orchestrator.survey.native_schedules import describe, next_times

NOW = datetime(2026, 12, 1, 4, 30, tzinfo=UTC)  # a Tuesday


def schedule(cron: str | None, zone: str | None = None, *, disabled: bool = False) -> RefreshSchedule:
    """A native schedule."""
    return RefreshSchedule(id="x", cron=cron, timezone=zone, hard=None, disabled=disabled)


@pytest.mark.parametrize(
    "cron, zone, words",
    [
        ("15 2 * * ? *", None, "every day at 02:15 (UTC)"),
        ("cron(0 6 ? * MON-FRI *)", "Europe/Berlin", "on MON-FRI at 06:00 (Europe/Berlin)"),
        ("30 * * * ? *", "UTC", "every hour at minute 30"),
        ("30 * ? * MON *", "UTC", "at 30 * ? * MON * (UTC)"),
        ("0/15 * * * ? *", "UTC", "at 0/15 * * * ? * (UTC)"),
        ("0 6 1 * ? *", "UTC", "at 0 6 1 * ? * (UTC)"),
        ("0 6,18 * * ? *", "UTC", "at 0 6,18 * * ? * (UTC)"),
        ("every day", "UTC", "at every day (UTC)"),
        ("", "UTC", "at unknown times (UTC)"),
        (None, None, "at unknown times (UTC)"),
    ],
)
def test_what_a_schedule_says(cron: str | None, zone: str | None, words: str) -> None:
    """Times of day and weekdays are told in words; whatever else stands there is shown as it is."""
    assert describe(schedule(cron, zone)) == words


@pytest.mark.parametrize(
    "cron, zone, times",
    [
        ("15 2 * * ? *", None, ["2026-12-02 02:15", "2026-12-03 02:15"]),
        ("30 4 * * ? *", None, ["2026-12-02 04:30", "2026-12-03 04:30"]),
        ("cron(0 6 ? * MON-FRI *)", "Europe/Berlin", ["2026-12-01 05:00", "2026-12-02 05:00"]),
        ("0 6 ? 7 MON-FRI *", "Europe/Berlin", ["2027-07-01 04:00", "2027-07-02 04:00"]),
        ("0/20 * * * ? *", "UTC", ["2026-12-01 04:40", "2026-12-01 05:00"]),
        ("10,50 4,5 * * ? *", "UTC", ["2026-12-01 04:50", "2026-12-01 05:10"]),
        ("0 0 L * ? *", "UTC", ["2026-12-31 00:00", "2027-01-31 00:00"]),
        ("0 0 1W AUG ? *", "UTC", ["2027-08-02 00:00", "2028-08-01 00:00"]),
        ("0 0 ? * 6L *", "UTC", ["2026-12-25 00:00", "2027-01-29 00:00"]),
        ("0 0 ? * MON#1 *", "UTC", ["2026-12-07 00:00", "2027-01-04 00:00"]),
        ("0 0 ? * 1 *", "UTC", ["2026-12-06 00:00", "2026-12-13 00:00"]),
        ("0 0 29 2 ? *", "UTC", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 1 1 ? 2027", "UTC", ["2027-01-01 00:00"]),
        ("0 0 1 1 ? 2020", "UTC", []),
    ],
)
def test_when_a_schedule_runs_next(cron: str, zone: str | None, times: list[str]) -> None:
    """All forms of the cron: lists, ranges, steps, names, last days, working days, the nth weekday; in its time zone."""
    assert [f"{moment:%Y-%m-%d %H:%M}" for moment in next_times(schedule(cron, zone), NOW, 2)] == times


@pytest.mark.parametrize(
    "cron, zone",
    [
        ("0 15 2 * * ?", None),
        ("0 2 * * *", None),
        ("60 2 * * ? *", None),
        ("0 2 ? * BAD *", None),
        ("*/0 2 * * ? *", None),
        ("every day", None),
        (None, None),
        ("0 2 * * ? *", "Nowhere/Land"),
        ("0 2 * * ? *", "../etc/passwd"),
    ],
)
def test_a_schedule_that_cannot_be_read(cron: str | None, zone: str | None) -> None:
    """What cannot be read has no times; nothing is guessed."""
    assert next_times(schedule(cron, zone), NOW, 2) == ()


def test_a_disabled_schedule_does_not_run() -> None:
    """It has no next time."""
    assert next_times(schedule("15 2 * * ? *", disabled=True), NOW, 2) == ()


@given(
    st.text("0123456789*?/,-LW# ABCDEFGHIJKLMNOPQRSTUVXYZ", max_size=30), st.sampled_from(["UTC", "America/New_York"])
)
def test_any_text_is_read_or_not(cron: str, zone: str) -> None:
    """No text of a server breaks the check; times come in order and after now."""
    times = next_times(schedule(cron, zone), NOW, 3)
    assert list(times) == sorted(times)
    assert all(moment > NOW for moment in times)
