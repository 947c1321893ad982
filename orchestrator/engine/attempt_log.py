"""The calls of one refresh that are worth telling: each refresh call, and each poll that was not answered as it should be."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from orchestrator.engine.outcome import ANSWERED, CallKind, CallMade
from orchestrator.omni.errors import CallError, CallErrorKind

FIRST_KEPT: Final = 5
LAST_KEPT: Final = 10


@dataclass(slots=True)
class _Made:
    """A call under way or over; moments of the loop's clock."""

    number: int
    what: CallKind
    left_at: datetime
    left_s: float
    end: str | None = None
    http_status: int | None = None
    word: str | None = None
    ended_s: float = 0.0
    wait_s: float | None = None

    def as_made(self) -> CallMade:
        """The call as it is told; one that never ended was cut off."""
        return CallMade(
            number=self.number,
            what=self.what,
            left_at=self.left_at,
            end=self.end or CallErrorKind.CUT_OFF.value,
            http_status=self.http_status,
            word=self.word,
            took_s=None if self.end is None else max(0.0, self.ended_s - self.left_s),
            wait_s=self.wait_s,
        )


@dataclass(slots=True)
class AttemptLog:
    """Keeps the first few and the last of a refresh's calls; `count` is how many there were, good polls included."""

    count: int = 0
    _first: list[_Made] = field(default_factory=list)
    _last: deque[_Made] = field(default_factory=lambda: deque(maxlen=LAST_KEPT))
    _latest: _Made | None = None

    def left(self, what: CallKind, now: float, at: datetime) -> None:
        """A call leaves."""
        if self._latest is not None and self._latest.end is not None:
            self._latest.wait_s = max(0.0, now - self._latest.ended_s)
        self.count += 1
        self._latest = _Made(self.count, what, at, now)
        if what is CallKind.REFRESH:
            self._keep(self._latest)

    def answered(self, now: float, word: str | None) -> None:
        """It was answered as it should be."""
        self._end(now, ANSWERED, None, word)

    def failed(self, now: float, error: CallError) -> None:
        """It went wrong, or was turned away."""
        self._end(now, error.kind.value, error.http_status, None)

    def _end(self, now: float, end: str, http_status: int | None, word: str | None) -> None:
        made = self._latest
        if made is None or made.end is not None:
            # the door closed before it left
            return
        made.end, made.http_status, made.word, made.ended_s = end, http_status, word, now
        if made.what is CallKind.POLL and end != ANSWERED:
            self._keep(made)

    def _keep(self, made: _Made) -> None:
        if len(self._first) < FIRST_KEPT:
            self._first.append(made)
        else:
            self._last.append(made)

    @property
    def calls(self) -> tuple[CallMade, ...]:
        """Those that are kept, in their order; gaps show in their numbers."""
        return tuple(made.as_made() for made in (*self._first, *self._last))
