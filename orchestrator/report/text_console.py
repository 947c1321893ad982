"""Where rich writes text that is handed on: at a width and with or without colour that the caller decides, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def text_console(out: TextIO, *, width: int, color: bool) -> Console:
    """A console that writes to `out`. It reads no markup in what others say, and asks neither terminal nor environment."""
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
