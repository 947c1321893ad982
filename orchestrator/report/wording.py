"""Text for people: durations in two units at most, the colour of each status, and the console that draws tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from orchestrator.engine.outcome import Status

if TYPE_CHECKING:
    from rich.console import Console

STATUS_STYLES: Final = {
    Status.UNKNOWN: "bold magenta",
    Status.FAILED: "bold red",
    Status.NO_EFFECT: "bold red",
    Status.TIMED_OUT: "bold yellow",
    Status.REJECTED: "bold red",
    Status.ERROR: "bold red",
    Status.THROTTLED: "bold yellow",
    Status.INTERRUPTED: "bold yellow",
    Status.NOT_STARTED: "bold yellow",
    Status.ACCEPTED: "cyan",
    Status.SUCCEEDED: "green",
    Status.SKIPPED: "dim",
}
"""The style of each status in the summary, the history and the live display."""


def took(duration_s: float) -> str:
    """Return seconds as `4ms`, `0.4s`, `12s`, `3m05s` or `2h07m`."""
    if duration_s < 0.0995:
        return f"{duration_s * 1000:.0f}ms"
    if duration_s < 9.95:
        return f"{duration_s:.1f}s"
    whole = round(duration_s)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def text_console(out: TextIO, *, width: int, color: bool) -> Console:
    """Return a console that writes to `out`. It interprets no markup and depends on neither terminal nor environment."""
    from rich.console import Console

    return Console(
        file=out,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
        emoji=False,
        markup=False,
        highlight=False,
        _environ={},
    )
