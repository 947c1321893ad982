"""When an instance counts as down, and when as up again (docs/explanation/how-it-works.md, "When an instance is down")."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, Refused, Unsent

FAILURES_IN_A_ROW = 5
FIRST_PROBE_S = 5.0
LONGEST_PROBE_S = 60.0
GIVE_UP_S = 120.0
UNREACHABLE_S = 15.0
"""How long to retry an instance that no call ever reached, if waiting rarely cures the cause; in seconds.

See docs/explanation/how-it-works.md, "When an instance is down".
"""


def is_silence(error: CallError) -> bool:
    """Whether a call's end speaks for an instance that is down: no answer at all, or a 5xx.

    A certificate that is not trusted says nothing about the instance's health.
    """
    if isinstance(error, Unsent):
        return error.kind is not CallErrorKind.TLS
    if isinstance(error, DeliveryUnknown):
        return error.http_status is None or error.http_status >= 500
    return isinstance(error, Refused) and (error.http_status or 0) >= 500


@dataclass(slots=True)
class Breaker:
    """Counts calls without an answer in a row; `is_open` while nothing more is submitted."""

    in_a_row: int = 0
    is_open: bool = False

    def failed(self) -> bool:
        """A call was not answered, or with 5xx. True where this one opens the breaker."""
        self.in_a_row += 1
        if self.is_open or self.in_a_row < FAILURES_IN_A_ROW:
            return False
        self.is_open = True
        return True

    def answered(self) -> bool:
        """A call was answered. True where this closes the breaker again."""
        was_open, self.is_open, self.in_a_row = self.is_open, False, 0
        return was_open


def next_probe_s(probes: int) -> float:
    """How long to wait before the next small read, after `probes` of them, in seconds: 5, 10, 20 … 60."""
    return min(LONGEST_PROBE_S, FIRST_PROBE_S * 2.0 ** min(probes, 10))
