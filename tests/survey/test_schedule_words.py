"""A native schedule in words."""

import pytest

from orchestrator.omni.answers import RefreshSchedule
from orchestrator.survey.check_online import describe


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
        ("", "UTC", "at times that it does not tell (UTC)"),
        (None, None, "at times that it does not tell (UTC)"),
    ],
)
def test_what_a_schedule_says(cron: str | None, zone: str | None, words: str) -> None:
    """Times of day and weekdays are told in words; whatever else stands there is shown as it is."""
    assert describe(RefreshSchedule(id="x", cron=cron, timezone=zone, hard=None, disabled=False)) == words
