"""How long a server asks to be left alone, read from its headers (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_S = 600.0
"""A longer wait counts as this, in seconds (docs/explanation/the-budget.md, "After a 429")."""

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)", re.IGNORECASE)
_DATE_CHARACTERS = 64


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """The wait in seconds, above 0 and at most `LONGEST_S`; None where the server asks for none that makes sense.

    Seconds may have fractions. An HTTP date is measured against the server's own `Date`, else against `now` (aware
    UTC), so that a clock that is wrong on either side does no harm. `headers` must find names in any case.
    """
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        wait_s = float(text)
    else:
        until = _http_date(text)
        if until is None:
            return None
        wait_s = (until - (_http_date(headers.get("Date", "").strip()) or now)).total_seconds()
    return min(wait_s, LONGEST_S) if wait_s > 0 else None


def _http_date(text: str) -> datetime | None:
    """One of the three forms of an HTTP date as an aware moment; None for anything else."""
    if len(text) > _DATE_CHARACTERS or not _WEEKDAY.match(text):
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
