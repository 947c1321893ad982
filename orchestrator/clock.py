"""The two clocks of a run as one value: durations are taken from `now`, stamps from `utcnow`; nothing else tells time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` is monotonic, in seconds, the event loop's own; `utcnow` is the aware UTC time of day."""

    now: Callable[[], float]
    utcnow: Callable[[], datetime]

    def stamp(self, at: float) -> datetime:
        """The time of day that belongs to a recent moment of `now`."""
        return self.utcnow() - timedelta(seconds=self.now() - at)


def real_clock() -> Clock:
    """The running loop's clock and the machine's; only the command line calls it."""
    return Clock(asyncio.get_running_loop().time, lambda: datetime.now(UTC))
