"""From an answer that is no success to the error that decides the next step; the status is looked at first."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from orchestrator.omni.verdict import make_error

NOW = datetime(2026, 11, 25, 2, 0, 0, tzinfo=UTC)
BODIES = (b"", b"<html><title>Too Many</title></html>", b'{"error": "x"}', b"[" * 70_000, b"\x00\xff", b"null", b"{")


def _error(status: int, body: bytes = b"", **headers: str) -> CallError:
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_error(Reply(status=status, headers=renamed, body=body), now=NOW, redact=str)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "status, error, kind, again",
    [
        *((300, Refused, CallErrorKind.REDIRECT, False), (304, Refused, CallErrorKind.REDIRECT, False)),
        *((400, Refused, CallErrorKind.BAD_REQUEST, False), (422, Refused, CallErrorKind.BAD_REQUEST, False)),
        *((401, KeyRefused, CallErrorKind.KEY_REFUSED, False), (403, Refused, CallErrorKind.FORBIDDEN, False)),
        *((404, Refused, CallErrorKind.NOT_FOUND, False), (405, Refused, CallErrorKind.REFUSED, False)),
        *((407, Refused, CallErrorKind.REFUSED, False), (408, DeliveryUnknown, CallErrorKind.TIMEOUT, False)),
        *((409, Refused, CallErrorKind.CONFLICT, False), (413, Refused, CallErrorKind.REFUSED, False)),
        *((414, Refused, CallErrorKind.URI_TOO_LONG, False), (431, Refused, CallErrorKind.URI_TOO_LONG, False)),
        *((425, Refused, CallErrorKind.REFUSED, False), (429, Throttled, CallErrorKind.THROTTLED, False)),
        *(
            (500, DeliveryUnknown, CallErrorKind.SERVER_ERROR, False),
            (502, DeliveryUnknown, CallErrorKind.SERVER_ERROR, False),
        ),
        *(
            (503, DeliveryUnknown, CallErrorKind.SERVER_ERROR, False),
            (599, DeliveryUnknown, CallErrorKind.SERVER_ERROR, False),
        ),
        *(
            (101, DeliveryUnknown, CallErrorKind.UNREADABLE, False),
            (999, DeliveryUnknown, CallErrorKind.UNREADABLE, False),
        ),
    ],
)
def test_the_status_decides(status: int, error: type[CallError], kind: CallErrorKind, again: bool, body: bytes) -> None:
    """Which error a status is does not depend on what its body holds."""
    found = _error(status, body)
    assert (type(found), found.kind, found.http_status) == (error, kind, status)
    assert found.is_retryable is again
    assert found.message


def test_a_pause_that_is_asked_for() -> None:
    """503 with a usable Retry-After was refused and may be tried again; every error keeps the wait."""
    refused = _error(503, b"busy", Retry_After="7")
    assert (type(refused), refused.kind, refused.retry_after_s) == (Refused, CallErrorKind.UNAVAILABLE, 7.0)
    assert refused.is_retryable
    assert _error(429, b"", Retry_After="Wed, 25 Nov 2026 02:00:04 GMT").retry_after_s == 4.0
    assert type(_error(503, b"", Retry_After="soon")) is DeliveryUnknown
    assert _error(502, b"", Retry_After="9").retry_after_s == 9.0


def test_a_403_about_the_token() -> None:
    """A 403 whose words refuse the token is about the key, any other about the target."""
    assert type(_error(403, b'{"detail": "Invalid bearer token", "status": 403}')) is KeyRefused
    assert type(_error(403, b'{"error": "Forbidden", "message": "Connection Admin required"}')) is Refused


@pytest.mark.parametrize(
    "location, place",
    [
        ("https://elsewhere.example/api/v1/x?token=t#f", "https://elsewhere.example/api/v1/x"),
        ("https://user:pass@elsewhere.example:8443/x", "https://elsewhere.example:8443/x"),
        ("//elsewhere.example/x", "https://elsewhere.example/x"),
        ("/login?next=a", "/login"),
        ("http://[broken/x", None),
        ("", None),
    ],
)
def test_a_redirect_is_named(location: str, place: str | None) -> None:
    """The message of a redirect says its status and where it points, without credentials and query."""
    message = _error(301, b"moved", Location=location).message
    assert "301" in message
    assert "base_url" in message
    assert "pass" not in message
    assert "token" not in message
    assert (f"points to {place};" in message) is (place is not None)


def test_words_are_kept_and_cut() -> None:
    """The server's words are the message, without the key, cut at 2,000 characters."""
    body = b'{"message": "' + b"y" * 1995 + b'SECRETKEY123"}'
    reply = Reply(status=400, headers={}, body=body)
    error = make_error(reply, now=NOW, redact=lambda text: text.replace("SECRETKEY123", "[redacted]"))
    assert error.message == "y" * 1995 + "[reda"
    assert len(error.message) == MESSAGE_CHARACTERS
    assert str(error) == error.message


@given(
    st.integers(min_value=100, max_value=999).filter(lambda n: not 200 <= n < 300), st.binary(max_size=200), st.text()
)
def test_every_answer_is_some_error(status: int, body: bytes, header: str) -> None:
    """No status, body or header is too odd for a verdict, and only a pause that was asked for invites another try."""
    error = _error(status, body, Retry_After=header, Location=header, Date=header)
    assert error.http_status == status
    assert not error.is_retryable or status in {407, 503}
