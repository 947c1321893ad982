"""What can go wrong with one call, and what decides the next step.

    CallError                    orchestrator.errors.OmniRefreshError
    ├── Unsent                   the request never left: DNS, refused connection, TLS, proxy; nothing was started
    ├── Refused                  the server answered and did not do it: 3xx, 4xx, 503 with Retry-After
    │   ├── Throttled            429: the whole key pauses
    │   └── KeyRefused           401, or a 403 whose text says that the token is invalid
    └── DeliveryUnknown          the request may have taken effect: cut off, timed out, 5xx, an unreadable answer

None of them is chained to a library's exception: those carry the request, and with it the key.
"""

from __future__ import annotations

from enum import StrEnum

from orchestrator.errors import OmniRefreshError

MESSAGE_CHARACTERS = 2000
"""The server's words are kept up to this length."""


class CallErrorKind(StrEnum):
    """The word for a failure in a report's `error.kind`."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    PROXY = "proxy"
    REDIRECT = "redirect"
    BAD_REQUEST = "bad_request"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    URI_TOO_LONG = "uri_too_long"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    THROTTLED = "throttled"
    KEY_REFUSED = "key_refused"
    TIMEOUT = "timeout"
    CUT_OFF = "cut_off"
    SERVER_ERROR = "server_error"
    UNREADABLE = "unreadable"


class CallError(OmniRefreshError):
    """One call did not get a usable answer.

    `message` is the server's words (or the library's), not cleaned yet, cut at 2,000 characters. `retry_after_s`
    is the wait that the server asked for, as `orchestrator.omni.verdict` reads it, or None.
    """

    def __init__(
        self, kind: CallErrorKind, message: str, *, http_status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.http_status = http_status
        self.retry_after_s = retry_after_s

    @property
    def is_retryable(self) -> bool:
        """Whether the same call, sent again later, can succeed and cannot do harm."""
        return False


class Unsent(CallError):
    """The request never left this machine.

    `is_lasting` is whether waiting rarely cures the cause: a host that is not found, a refused connection, a certificate
    that is not trusted, a proxy that refuses.
    """

    def __init__(self, kind: CallErrorKind, message: str, *, is_lasting: bool = False) -> None:
        super().__init__(kind, message)
        self.is_lasting = is_lasting

    @property
    def is_retryable(self) -> bool:
        return self.kind is not CallErrorKind.TLS


class Refused(CallError):
    """The server answered that it did not do it; only 503 with Retry-After is worth another try."""

    @property
    def is_retryable(self) -> bool:
        return self.kind is CallErrorKind.UNAVAILABLE


class Throttled(Refused):
    """429: the key pauses, the call is sent again, and it does not count as an attempt."""


class KeyRefused(Refused):
    """The server does not accept the key; another key of the instance may work."""


class DeliveryUnknown(CallError):
    """The request may have arrived and taken effect; a read may be sent again, a refresh only if the manifest says so."""

    @property
    def answered(self) -> bool:
        """Whether any answer came back at all; the breaker counts silence and 5xx alike."""
        return self.http_status is not None
