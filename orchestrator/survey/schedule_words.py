"""A native schedule in words. Pure."""

from __future__ import annotations

import re

from orchestrator.omni.answers import RefreshSchedule

_NUMBER = re.compile(r"[0-9]{1,2}")
_DAYS = re.compile(r"[A-Za-z0-9,#L-]{1,40}")


def describe(schedule: RefreshSchedule) -> str:
    """When a schedule runs, as far as its cron (minutes, hours, day of month, month, day of week, year: six fields as AWS
    EventBridge has them) is one that can be told shortly; else the cron itself.
    """
    zone = schedule.timezone or "UTC"
    fields = (schedule.cron or "").removeprefix("cron(").removesuffix(")").split()
    if len(fields) == 6:
        minute, hour, day, month, weekday, year = fields
        is_daily = day in "*?" and month == "*" and year == "*"
        days = "every day" if weekday in "*?" else f"on {weekday}" if _DAYS.fullmatch(weekday) else None
        if is_daily and days is not None and _NUMBER.fullmatch(minute):
            if _NUMBER.fullmatch(hour):
                return f"{days} at {int(hour):02d}:{int(minute):02d} ({zone})"
            if hour == "*" and days == "every day":
                return f"every hour at minute {int(minute)}"
    return f"at {' '.join(fields) or 'times that it does not tell'} ({zone})"
