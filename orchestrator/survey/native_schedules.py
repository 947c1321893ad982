"""Native refresh schedules: six-field cron of AWS EventBridge, in words and as the next moments. Pure."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from orchestrator.omni.answers import RefreshSchedule

_NUMBER: Final = re.compile(r"[0-9]{1,2}")
_DIGITS: Final = re.compile(r"[0-9]{1,4}")
_DAYS: Final = re.compile(r"[A-Za-z0-9,#L-]{1,40}")
_MONTHS: Final = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_WEEKDAYS: Final = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
# a schedule for 29 February comes every eight years at most
_MOST_DAYS: Final = 366 * 8 + 2


def describe(schedule: RefreshSchedule) -> str:
    """Return when a schedule runs, in words if its cron is a simple one, else the cron itself."""
    zone = schedule.timezone or "UTC"
    fields = _fields(schedule)
    if len(fields) == 6:
        minute, hour, day, month, weekday, year = fields
        is_daily = day in "*?" and month == "*" and year == "*"
        days = "every day" if weekday in "*?" else f"on {weekday}" if _DAYS.fullmatch(weekday) else None
        if is_daily and days is not None and _NUMBER.fullmatch(minute):
            if _NUMBER.fullmatch(hour):
                return f"{days} at {int(hour):02d}:{int(minute):02d} ({zone})"
            if hour == "*" and days == "every day":
                return f"every hour at minute {int(minute)}"
    return f"at {' '.join(fields) or 'unknown times'} ({zone})"


def next_times(schedule: RefreshSchedule, now: datetime, count: int) -> tuple[datetime, ...]:
    """Return the next `count` moments (UTC) after `now` at which a schedule runs.

    Empty if it is disabled, if its cron or its time zone cannot be read, or if it never runs again.
    """
    try:
        times = _times(_fields(schedule), now, _zone(schedule.timezone))
        return () if schedule.disabled else tuple(islice(times, count))
    except (ValueError, OverflowError, OSError):
        return ()


def _fields(schedule: RefreshSchedule) -> list[str]:
    return (schedule.cron or "").strip().removeprefix("cron(").removesuffix(")").split()


def _zone(name: str | None) -> tzinfo:
    if name is None or name.upper() in {"UTC", "ETC/UTC"}:
        return UTC
    try:
        return ZoneInfo(name)
    except KeyError:
        # also if the machine has no time zones
        raise ValueError(f"no time zone {name!r}") from None


def _times(fields: list[str], now: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the moments after `now`, in order. Raises `ValueError` for a cron that cannot be read."""
    minute, hour, day, month, weekday, year = fields
    minutes, hours = sorted(_numbers(minute, 0, 59)), sorted(_numbers(hour, 0, 23))
    months, years = _numbers(month, 1, 12, _MONTHS), _numbers(year, 1970, 2199)
    today = now.astimezone(zone).date()
    for one in (today + timedelta(days=number) for number in range(_MOST_DAYS)):
        if _is_day_of_month(day, one) and _is_weekday(weekday, one) and one.month in months and one.year in years:
            for clock in (time(h, m) for h in hours for m in minutes):
                moment = datetime.combine(one, clock, zone).astimezone(UTC)
                if moment > now:
                    yield moment


def _numbers(field: str, low: int, high: int, names: Sequence[str] = ()) -> frozenset[int]:
    """Return the numbers that a field names: `*`, single ones, ranges, steps, and `names` that count from `low`."""
    found: set[int] = set()
    for part in field.upper().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin = low if span == "*" else _number(first, low, high, names)
        end = _number(last, low, high, names) if dash else high if slash or span == "*" else begin
        numbers = [*range(begin, end + 1)] if begin <= end else [*range(begin, high + 1), *range(low, end + 1)]
        found.update(numbers[:: _number(step, 1, high + 1) if slash else 1])
    return frozenset(found)


def _number(text: str, low: int, high: int, names: Sequence[str] = ()) -> int:
    number = low + names.index(text) if text in names else int(text) if _DIGITS.fullmatch(text) else -1
    if not low <= number <= high:
        raise ValueError(f"{text!r} is no number from {low} to {high}")
    return number


def _is_day_of_month(field: str, one: date) -> bool:
    field, last = field.upper(), calendar.monthrange(one.year, one.month)[1]
    if field in {"*", "?"}:
        return True
    if field == "L":
        return one.day == last
    if field.endswith("W"):
        wanted = last if field == "LW" else min(_number(field[:-1], 1, 31), last)
        return one.day == _nearest_weekday(one.replace(day=wanted), last)
    return one.day in _numbers(field, 1, 31)


def _nearest_weekday(one: date, last: int) -> int:
    """Return the day of the working day that is nearest in the same month."""
    shift = {5: -1 if one.day > 1 else 2, 6: 1 if one.day < last else -2}.get(one.weekday(), 0)
    return one.day + shift


def _is_weekday(field: str, one: date) -> bool:
    field, today = field.upper(), one.isoweekday() % 7 + 1
    if field in {"*", "?"}:
        return True
    day, mark, number = field.partition("#")
    if mark:
        return today == _number(day, 1, 7, _WEEKDAYS) and (one.day + 6) // 7 == _number(number, 1, 5)
    if field != "L" and field.endswith("L"):
        is_last = one.day + 7 > calendar.monthrange(one.year, one.month)[1]
        return is_last and today == _number(field[:-1], 1, 7, _WEEKDAYS)
    return today in ({7} if field == "L" else _numbers(field, 1, 7, _WEEKDAYS))
