"""Signals from the first moment on: one that comes before the run can be stopped in order is kept until it can."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PATIENCE_S: Final = 2.0
"""A result that nobody reads is waited for so long after a signal."""


class Signals:
    """Those that have come, in their order. One that was ignored at the start (`nohup`) stays ignored."""

    def __init__(self) -> None:
        self.caught: list[int] = []
        self._caught_at_s = 0.0
        self._watched = tuple(n for n in STOPPING if signal.getsignal(n) is not signal.SIG_IGN)

    def watch(self) -> None:
        """Keep signals from now on, to the end of the process; nothing else happens to them but what `handed_over` says.

        So a signal that comes when the result is there does not change the exit code.
        """
        for number in self._watched:
            signal.signal(number, self._keep)

    @contextmanager
    def handed_over(self, loop: asyncio.AbstractEventLoop, stop: Callable[[int], None]) -> Iterator[None]:
        """Within the block call `stop` for each signal, in the loop; at once for those that were kept. Then keep them again.

        `caught` grows as soon as a signal comes, also while the loop is blocked: what blocks it can look there.
        """
        for number in self._watched:
            # the loop is woken and calls `stop`; Python's own handler runs even while the loop is blocked
            loop.add_signal_handler(number, stop, number)
            signal.signal(number, self._keep)
        for early in tuple(self.caught):
            stop(early)
        try:
            yield
        finally:
            # a loop that closes would leave the default: a late signal would end a run that has its result already
            for number in self._watched:
                loop.remove_signal_handler(number)
                signal.signal(number, self._keep)

    def is_impatient(self) -> bool:
        """Whether a signal came, and what was under way then has had its time to end."""
        return bool(self.caught) and time.monotonic() - self._caught_at_s > PATIENCE_S

    def _keep(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.caught.append(number)
        self._caught_at_s = time.monotonic()
