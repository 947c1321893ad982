"""The last lines of a terminal, drawn again and again, while whole lines are written above them.

Everything that is drawn or erased goes out in one write, so that nothing flickers and nothing is torn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.text import Text

_ERASE_BELOW: Final = "\x1b[J"

Size = tuple[int, int]
"""Columns and rows."""


class Pane:
    """The lines at the bottom of a terminal. A terminal that is gone is no error: nothing more is drawn."""

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
        """Show these lines in the place of those before; each must be narrower than the terminal."""
        shown = [(self._render(line), line.cell_len) for line in lines]
        self._write(self._erasure() + _joined(shown), shown)

    def write_above(self, line: str) -> None:
        """A line of text above the pane, where it scrolls away like any other."""
        self._write(f"{self._erasure()}{line}\n{_joined(self._drawn)}", self._drawn)

    def close(self) -> None:
        """Take the lines away; the cursor is where they began."""
        if self._drawn:
            self._write(self._erasure(), [])

    def _erasure(self) -> str:
        """What takes away the lines that are there. A terminal that has become narrower has wrapped them."""
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
    """The columns and rows of the terminal behind a descriptor; 80 and 24 where it does not say."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return 80, 24
    return size.columns or 80, size.lines or 24
