"""Turn an answer that is no success into an error, with what the caller needs to decide the next step.

    3xx                        Refused(REDIRECT)        never followed: the key goes to the base URL's origin alone
    401                        KeyRefused               whatever the body is: a login page says the same
    403                        KeyRefused if the API's own error refuses the token, else Refused(FORBIDDEN)
    408                        DeliveryUnknown(TIMEOUT) a gateway says it, too, when the server behind it was slow
    414, 431                   Refused(URI_TOO_LONG)    some servers count the target among the header's bytes
    429                        Throttled                whatever the body is
    other 4xx                  Refused                  407 too: a proxy's own 407 answers CONNECT and is no reply to a call
    503 with Retry-After       Refused(UNAVAILABLE)     it was not begun, and there is a moment to come back
    other 5xx, anything else   DeliveryUnknown

The status is looked at before the body: a body that is no JSON, or was cut off, changes nothing but the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from orchestrator.omni.error_text import says_that_the_key_is_bad, server_words
from orchestrator.omni.errors import (
    MESSAGE_CHARACTERS,
    CallError,
    CallErrorKind,
    DeliveryUnknown,
    KeyRefused,
    Refused,
    Throttled,
)
from orchestrator.omni.transport import Reply

LONGEST_S = 600.0
"""A longer wait counts as this, in seconds (docs/explanation/the-budget.md, "After a 429")."""

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)", re.IGNORECASE)
_DATE_CHARACTERS = 64


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the wait in seconds, above 0 and at most `LONGEST_S`; None if the server names no valid one.

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


def read_date(headers: Mapping[str, str]) -> datetime | None:
    """Return the server's time as its `Date` header says it, as an aware moment; None if there is none."""
    return _http_date(headers.get("Date", "").strip())


def _http_date(text: str) -> datetime | None:
    """One of the three forms of an HTTP date as an aware moment; None for anything else."""
    if len(text) > _DATE_CHARACTERS or not _WEEKDAY.match(text):
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


_REFUSALS = {
    400: CallErrorKind.BAD_REQUEST,
    403: CallErrorKind.FORBIDDEN,
    404: CallErrorKind.NOT_FOUND,
    409: CallErrorKind.CONFLICT,
    414: CallErrorKind.URI_TOO_LONG,
    422: CallErrorKind.BAD_REQUEST,
    431: CallErrorKind.URI_TOO_LONG,
}
_LOCATION_CHARACTERS = 300


def make_error(reply: Reply, *, now: datetime, redact: Callable[[str], str]) -> CallError:
    """The error that `reply`, which is no 2xx, stands for. `redact` takes the key out of the server's words."""
    status = reply.status
    wait_s = retry_after_s(reply.headers, now)
    if 300 <= status < 400:
        words = _redirect(status, reply.headers.get("Location", ""))
    else:
        words = server_words(status, reply.body)
    error, kind = _kind(status, reply.body, wait_s)
    return error(kind, redact(words)[:MESSAGE_CHARACTERS], http_status=status, retry_after_s=wait_s)


def make_unreadable(why: str, reply: Reply, *, redact: Callable[[str], str]) -> DeliveryUnknown:
    """Return the error for a 2xx whose body does not say what was asked for: `why`, and the server's words."""
    words = redact(f"{why}: {server_words(reply.status, reply.body)}")
    return DeliveryUnknown(CallErrorKind.UNREADABLE, words[:MESSAGE_CHARACTERS], http_status=reply.status)


def _kind(status: int, body: bytes, wait_s: float | None) -> tuple[type[CallError], CallErrorKind]:
    if 300 <= status < 400:
        return Refused, CallErrorKind.REDIRECT
    if status == 429:
        return Throttled, CallErrorKind.THROTTLED
    if status == 401 or (status == 403 and says_that_the_key_is_bad(body)):
        return KeyRefused, CallErrorKind.KEY_REFUSED
    if status == 408:
        return DeliveryUnknown, CallErrorKind.TIMEOUT
    if 400 <= status < 500:
        return Refused, _REFUSALS.get(status, CallErrorKind.REFUSED)
    if status == 503 and wait_s is not None:
        return Refused, CallErrorKind.UNAVAILABLE
    return DeliveryUnknown, CallErrorKind.SERVER_ERROR if 500 <= status < 600 else CallErrorKind.UNREADABLE


def _redirect(status: int, location: str) -> str:
    """Return a message on a redirect: its target without credentials, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(location)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        parts, host = urlsplit(""), ""
    place = (f"{parts.scheme or 'https'}://{host}" if host else "") + parts.path
    text = f"the server answered {status}, a redirect, which is not followed"
    return (
        f"{text}: it points to {place[:_LOCATION_CHARACTERS]}; check base_url" if place else f"{text}; check base_url"
    )
