"""Moments that several processes can compare, though no clock is the same for all of them and any wall clock may be set.

A moment is a number of seconds, and a mark that names the clock. On one machine the clock is the monotonic one and the
mark is the machine's start. In a store that machines share the number is the store's time of day, and the mark holds what is
needed to check it: the machine and its monotonic clock, and the difference between its time of day and the store's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator.clock import Clock

_LINUX: Final = Path("/proc/sys/kernel/random/boot_id")
_AGREE_S: Final = 5.0
# how far a wall clock may be wrong without a process that notices it
_CLOCK_MARGIN_S: Final = 2 * 86_400.0


def boot_id(path: Path = _LINUX) -> str:
    """Return a text that changes with each start of the machine; empty if it cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def uptime_s() -> float:
    """Return the machine's monotonic clock, which runs on while the machine is suspended if it has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class LocalMoment:
    """A moment of this machine's monotonic clock; the mark is the machine's start."""

    at_s: float
    mark: str

    def before(self, seconds: float) -> LocalMoment:
        """Return the moment so many seconds earlier."""
        return LocalMoment(self.at_s - seconds, self.mark)

    def age_s(self, at_s: float, mark: str) -> float | None:
        """Return the age; None after another start of the machine. A moment that lies ahead has a negative age."""
        return self.at_s - at_s if mark and mark == self.mark else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMoment:
    """A moment of a shared store: its time of day, this machine's, and this machine's monotonic clock."""

    at_s: float
    wall_s: float
    up_s: float
    boot: str

    @property
    def mark(self) -> str:
        """What another machine needs to check the moment."""
        return json.dumps([self.boot, round(self.up_s, 3), round(self.wall_s - self.at_s, 3)])

    def before(self, seconds: float) -> StoreMoment:
        """Return the moment so many seconds earlier."""
        return replace(self, at_s=self.at_s - seconds, wall_s=self.wall_s - seconds, up_s=self.up_s - seconds)

    def age_s(self, at_s: float, mark: str) -> float | None:
        """Return the age: by the monotonic clock if it is this machine's moment; else if two times of day agree on it.

        If the store's time of day and this machine's disagree about how much time has passed, one of them was set.
        """
        try:
            boot, up_s, ahead_s = json.loads(mark)
        except ValueError:
            return None
        if boot and boot == self.boot:
            return self.up_s - float(up_s)
        store_s = self.at_s - at_s
        wall_s = self.wall_s - (at_s + float(ahead_s))
        if abs(store_s - wall_s) > _AGREE_S or min(store_s, wall_s) < -_AGREE_S:
            return None
        return max(0.0, min(store_s, wall_s))


Moment = LocalMoment | StoreMoment
"""Now, as it can be stored: a number of seconds (`at_s`), and the mark of the clock."""
Moments = Callable[[], Moment]
"""Returns the present moment."""


class Ages:
    """How long ago a stored moment was. `now` returns the present one, by the clock of the place where they are stored."""

    def __init__(self, clock: Clock, now: Moments) -> None:
        self._clock = clock
        self.now = now

    def likely_s(self, at: str, mark: str, at_s: float) -> float:
        """Return the age if it is certain, else what the wall clock says."""
        age_s = self.now().age_s(at_s, mark)
        return self._wall_s(at) if age_s is None else max(0.0, age_s)

    def certain_s(self, at: str, mark: str, at_s: float) -> float:
        """Return an age that the moment has at least, even if a wall clock was set.

        On one machine that is, after a restart, the time since then. Otherwise it is what the wall clock says, less a margin of
        two days. A machine without a mark of its starts has only the wall clock.
        """
        now = self.now()
        age_s = now.age_s(at_s, mark)
        if age_s is not None:
            return max(0.0, age_s)
        if not mark or not now.mark:
            return self._wall_s(at)
        since_start_s = now.at_s if isinstance(now, LocalMoment) else 0.0
        return max(0.0, since_start_s, self._wall_s(at) - _CLOCK_MARGIN_S)

    def _wall_s(self, at: str) -> float:
        return max(0.0, (self._clock.utcnow() - datetime.fromisoformat(at)).total_seconds())
