"""A terminal as small as the program's needs: text that wraps, line feeds, colours, cursor up, erase below."""

import re

_PIECE = re.compile(r"\x1b\[(?P<count>\d*)A|(?P<erase>\x1b\[J)|\x1b\[(?P<style>[\d;]*)m|(?P<char>[^\x1b])", re.DOTALL)


class Screen:
    """Rows of text, all that ever scrolled away included. An unknown control sequence is an error."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[str] = [""]
        self.styled = False
        self._row = 0
        self._column = 0

    def feed(self, text: str) -> None:
        """What the program writes, with the line discipline's carriage returns or without."""
        text = text.replace("\r\n", "\n")
        position = 0
        while position < len(text):
            match = _PIECE.match(text, position)
            assert match is not None, repr(text[position : position + 20])
            position = match.end()
            if match["count"] is not None:
                self._row = max(0, self._row - int(match["count"] or 1))
            elif match["erase"]:
                self.rows[self._row] = self.rows[self._row][: self._column]
                del self.rows[self._row + 1 :]
            elif match["style"] is not None:
                self.styled = True
            else:
                self._put(match["char"])

    def _put(self, char: str) -> None:
        if char == "\n":
            self._down()
        elif char == "\r":
            self._column = 0
        else:
            if self._column == self.columns:
                self._down()
            row = self.rows[self._row].ljust(self._column)
            self.rows[self._row] = row[: self._column] + char + row[self._column + 1 :]
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        self._column = 0
        if self._row == len(self.rows):
            self.rows.append("")

    def narrow(self, columns: int) -> None:
        """The window becomes narrower, and long rows wrap, as in most terminals; the cursor stays at its text's end."""
        assert self._row == len(self.rows) - 1
        wrapped = [row[at : at + columns] for row in self.rows for at in range(0, max(1, len(row)), columns)]
        self.rows, self.columns = wrapped, columns
        self._row, self._column = len(wrapped) - 1, len(wrapped[-1])
