"""Signals from the first moment on: one that comes before the run can be stopped in order is kept until it can."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Those that have come, in their order. One that was ignored at the start (`nohup`) stays ignored."""

    def __init__(self) -> None:
        self.caught: list[int] = []
        self._watched = tuple(n for n in STOPPING if signal.getsignal(n) is not signal.SIG_IGN)

    def watch(self) -> None:
        """Keep signals from now on; nothing else happens to them."""
        for number in self._watched:
            signal.signal(number, self._keep)

    def hand_over(self, loop: asyncio.AbstractEventLoop, stop: Callable[[int], None]) -> None:
        """From now on `stop` is called for each signal, in the loop; at once for those that were kept."""

        def act(number: int) -> None:
            self.caught.append(number)
            stop(number)

        kept = tuple(self.caught)
        for number in self._watched:
            loop.add_signal_handler(number, act, number)
        for early in kept:
            stop(early)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.caught.append(number)
