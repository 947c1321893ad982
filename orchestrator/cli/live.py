"""Shows a run on a terminal while it works; the lines of the log stand above, where they scroll away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from orchestrator.cli.console import Console
from orchestrator.cli.log_observer import LogObserver
from orchestrator.cli.pane import Pane, terminal_size
from orchestrator.cli.progress import BudgetUse, Progress, render_progress
from orchestrator.clock import Clock
from orchestrator.engine.run import Run
from orchestrator.quota.rate_limiter import RateLimiter

DRAW_EVERY_S: Final = 0.25
LOOK_EVERY_S: Final = 1.0
"""How often to sample what costs more with more targets."""


@asynccontextmanager
async def show_live(console: Console, log: LogObserver, run: Run, *, title: str, clock: Clock) -> AsyncIterator[None]:
    """Within the block the run is shown on stderr, if the console is live."""
    if not console.live:
        yield
        return
    import sys

    pane = Pane(sys.stderr, color=console.color_err, size=lambda: terminal_size(sys.stderr.fileno()))
    sampler = Sampler(log, run, title=title, clock=clock)
    with console.log.borrowed(pane.write_above):
        drawing = asyncio.create_task(
            keep_drawing(pane, sampler.look, ascii_only=not _shows_blocks(sys.stderr.encoding))
        )
        try:
            yield
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing
            pane.close()


async def keep_drawing(pane: Pane, look: Callable[[], Progress], *, ascii_only: bool) -> None:
    """Draw what `look` sees until cancelled."""
    while True:
        columns, rows = pane.size
        pane.draw(render_progress(look(), columns, height=max(1, rows - 1), ascii_only=ascii_only))
        await asyncio.sleep(DRAW_EVERY_S)


class Sampler:
    """Looks at a run: at the cheap things each time, at the others as often as they are worth it."""

    def __init__(self, log: LogObserver, run: Run, *, title: str, clock: Clock) -> None:
        self._log = log
        self._run = run
        self._clock = clock
        self._began_at = clock.now()
        self._seen = Progress(title=title, elapsed_s=0.0, selected=run.selected)
        self._look_at = float("-inf")

    def look(self) -> Progress:
        """The run as it is now."""
        now = self._clock.now()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._seen = replace(
                self._seen,
                budgets=tuple(_budget(name, limiter, now) for name, limiter in self._run.limiters.items()),
                lanes=self._run.active_lanes(),
                left_s=self._run.time_left_s(),
            )
        self._seen = replace(
            self._seen,
            elapsed_s=now - self._began_at,
            total=self._log.total,
            settled=dict(self._log.statuses),
            failed=tuple(self._log.failed),
            ended=self._log.ended,
        )
        return self._seen


def _budget(instance: str, limiter: RateLimiter, now: float) -> BudgetUse:
    keys = [key for key in limiter.keys if not key.refused]
    held = [key.not_before - now for key in keys if key.not_before > now]
    return BudgetUse(
        instance=instance,
        used=sum(key.counted(now) for key in keys),
        calls=sum(key.learned.limit for key in keys),
        queued=limiter.queued,
        is_silent=limiter.is_silent,
        per_s=max((key.per_s for key in keys), default=60.0),
        held_s=min(held) if held and len(held) == len(keys) else None,
    )


def _shows_blocks(encoding: str | None) -> bool:
    try:
        "█▒░▰▱…".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
