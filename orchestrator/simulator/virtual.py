"""Virtual time: an event loop with real sockets whose clock jumps instead of waiting.

Client and server run in one loop and talk over loopback. When the loop would sleep, it looks at the sockets first; if none of
them is ready, its clock jumps to the next timer. An hour of polling takes a second, and the same program makes the same calls
at the same moments every time.

What must hold for that: both ends of a connection live in this loop (a peer in another process answers in real time, and the
clock would run away from it). While work runs in the loop's executor, the loop waits in real time and the clock stands still.
So a host name can be looked up, but the look-up takes no virtual time.
"""

import asyncio
import os
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from math import ulp
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_S = 1000.0
"""The time of a new loop's clock, in seconds: small, so that a nanosecond is never lost to rounding."""

START_AT = datetime(2026, 1, 1, tzinfo=UTC)
"""The UTC moment that a new loop's clock starts at, if the caller names none."""

TICK_S = 1e-9
"""How far the clock moves at each turn, so that code that polls the clock (as aiolimiter does) makes progress."""

_LOOKS = 3
"""How often the sockets are polled before a jump: the kernel may deliver a byte slightly after it was written."""

_DRAIN_S = 0.05
"""Real seconds to wait if a writer waits for room, because acknowledgements may be delayed (40 ms)."""

_IDLE_S = 0.05
"""Real seconds of one wait if only a thread or a signal can continue."""


class _Selector(selectors.DefaultSelector):
    """Polls real file descriptors, and moves the clock when the loop would have slept."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_S
        self.threads = 0
        self._writers: set[int] = set()

    def register(self, fileobj: "FileDescriptorLike", events: int, data: Any = None) -> selectors.SelectorKey:
        return self._note(super().register(fileobj, events, data))

    def modify(self, fileobj: "FileDescriptorLike", events: int, data: Any = None) -> selectors.SelectorKey:
        return self._note(super().modify(fileobj, events, data))

    def unregister(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self._writers.discard(key.fd)
        return key

    def _note(self, key: selectors.SelectorKey) -> selectors.SelectorKey:
        if key.events & selectors.EVENT_WRITE:
            self._writers.add(key.fd)
        else:
            self._writers.discard(key.fd)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; if nothing is, the clock has moved by `timeout` seconds (None: only a thread can continue)."""
        self.now += max(TICK_S, ulp(self.now))
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        for _ in range(_LOOKS - 1):
            os.sched_yield()
            if ready := super().select(0):
                return ready
        if timeout is None or self.threads:
            return super().select(_IDLE_S)
        if self._writers and (ready := super().select(_DRAIN_S)):
            return ready
        self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with real sockets and a virtual clock that starts at `start_at` (aware UTC)."""

    def __init__(self, *, start_at: datetime = START_AT) -> None:
        self._virtual = _Selector()
        self._start_at = start_at
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual seconds; `START_S` at first."""
        return self._virtual.now

    def utcnow(self) -> datetime:
        """The virtual moment, aware UTC: `start_at` and what has passed since on this loop's clock."""
        return self._start_at + timedelta(seconds=self._virtual.now - START_S)

    def suspend(self, seconds: float) -> None:
        """Let `seconds` pass at once, as if the process had been suspended: timers become due, nothing runs."""
        self._virtual.now += seconds

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """As the base class; the clock stands still until `func` has returned."""
        future = super().run_in_executor(executor, func, *args)
        self._virtual.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._virtual.threads -= 1

    async def shutdown_default_executor(self, *args: Any, **options: Any) -> None:
        """As the base class; the clock stands still while the threads are joined."""
        self._virtual.threads += 1
        try:
            await super().shutdown_default_executor(*args, **options)
        finally:
            self._virtual.threads -= 1


def utcnow_of(loop: asyncio.AbstractEventLoop) -> Callable[[], datetime]:
    """The clock of stamps that belongs to `loop`. Raises TypeError for a loop that has no virtual time."""
    if not isinstance(loop, VirtualLoop):
        raise TypeError(f"{type(loop).__name__} has no virtual time")
    return loop.utcnow


def run(main: Coroutine[Any, Any, T], *, debug: bool = False, start_at: datetime = START_AT) -> T:
    """Run `main` to its end in virtual time, as `asyncio.run` does in real time; leftover tasks are cancelled."""
    with asyncio.Runner(debug=debug, loop_factory=lambda: VirtualLoop(start_at=start_at)) as runner:
        return runner.run(main)
