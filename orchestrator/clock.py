"""The two clocks of a run as one value: durations come from `now`, timestamps from `utcnow`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` is monotonic, in seconds, the event loop's own; `utcnow` is the aware UTC time of day."""

    now: Callable[[], float]
    utcnow: Callable[[], datetime]

    def stamp(self, at: float) -> datetime:
        """Return the time of day of a recent moment of `now`."""
        return self.utcnow() - timedelta(seconds=self.now() - at)


def real_clock() -> Clock:
    """Return the machine's monotonic clock and its time of day."""
    return Clock(time.monotonic, lambda: datetime.now(UTC))
