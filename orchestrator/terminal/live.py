"""Shows a run in the last lines of a terminal while it works. The lines of the log scroll away above.

Each redraw is one write, so that nothing flickers.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TextIO

from orchestrator.clock import Clock
from orchestrator.engine.run import Run
from orchestrator.quota.rate_limiter import RateLimiter
from orchestrator.terminal.console import Console
from orchestrator.terminal.log_observer import LogObserver
from orchestrator.terminal.progress import BudgetUse, Progress, render_progress

if TYPE_CHECKING:
    from rich.text import Text

_ERASE_BELOW: Final = "\x1b[J"

Size = tuple[int, int]
"""Columns and rows."""

DRAW_EVERY_S: Final = 0.25
LOOK_EVERY_S: Final = 1.0
"""Seconds between samples of values whose cost grows with the number of targets."""


@asynccontextmanager
async def show_live(console: Console, log: LogObserver, run: Run, *, title: str, clock: Clock) -> AsyncIterator[None]:
    """Show the run on stderr within the block, if the console is live."""
    if not console.live:
        yield
        return
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
    """Draw what `look` returns, until cancelled."""
    while True:
        columns, rows = pane.size
        pane.draw(render_progress(look(), columns, height=max(1, rows - 1), ascii_only=ascii_only))
        await asyncio.sleep(DRAW_EVERY_S)


class Sampler:
    """Samples a run: cheap values each time, the others every `LOOK_EVERY_S`."""

    def __init__(self, log: LogObserver, run: Run, *, title: str, clock: Clock) -> None:
        self._log = log
        self._run = run
        self._clock = clock
        self._began_at = clock.now()
        self._seen = Progress(title=title, elapsed_s=0.0, selected=run.selected)
        self._look_at = float("-inf")

    def look(self) -> Progress:
        """Return the run's progress now."""
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


class Pane:
    """The lines at the bottom of a terminal. If the terminal is gone, nothing more is drawn, without an error."""

    def __init__(self, stream: TextIO, *, color: bool, size: Callable[[], Size]) -> None:
        self._stream = stream
        self._color = color
        self._size = size
        self._drawn: list[tuple[str, int]] = []
        self._is_gone = False

    @property
    def size(self) -> Size:
        """The terminal's columns and rows now."""
        return self._size()

    def draw(self, lines: Sequence[Text]) -> None:
        """Replace the lines that are drawn. Each must be narrower than the terminal."""
        shown = [(self._render(line), line.cell_len) for line in lines]
        self._write(self._erasure() + _joined(shown), shown)

    def write_above(self, line: str) -> None:
        """Write a line above the drawn lines."""
        self._write(f"{self._erasure()}{line}\n{_joined(self._drawn)}", self._drawn)

    def close(self) -> None:
        """Erase the lines. The cursor returns to where they began."""
        if self._drawn:
            self._write(self._erasure(), [])

    def _erasure(self) -> str:
        """Return what erases the drawn lines, also if the terminal became narrower and wrapped them."""
        if not self._drawn:
            return ""
        columns = max(1, self._size()[0])
        rows = sum(max(1, -(-width // columns)) for _, width in self._drawn)
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "") + _ERASE_BELOW

    def _render(self, line: Text) -> str:
        from rich.console import Console

        console = Console(
            file=None,
            force_terminal=True,
            color_system="standard" if self._color else None,
            no_color=not self._color,
            width=max(1, line.cell_len + 1),
            legacy_windows=False,
            markup=False,
            highlight=False,
            emoji=False,
            _environ={},
        )
        if not self._color:
            return line.plain
        with console.capture() as capture:
            console.print(line, end="", soft_wrap=True)
        return capture.get()

    def _write(self, text: str, drawn: list[tuple[str, int]]) -> None:
        if self._is_gone:
            return
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):
            self._is_gone = True
        self._drawn = drawn


def _joined(lines: Sequence[tuple[str, int]]) -> str:
    return "\n".join(text for text, _ in lines)


def terminal_size(descriptor: int) -> Size:
    """Return a terminal's columns and rows: 80 and 24 if they are unknown."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return 80, 24
    return size.columns or 80, size.lines or 24
