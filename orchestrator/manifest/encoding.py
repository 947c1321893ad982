"""Bytes -> text: a YAML file is UTF-8, with or without a byte order mark, and holds no control characters."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final

from orchestrator.manifest.diagnostics import Diagnostics
from orchestrator.manifest.manifest import Place

MAX_BYTES: Final = 64 * 1024 * 1024
"""A larger file is refused unread."""

_MAX_NAMED: Final = 20
_BOM: Final = "\ufeff"
_LINE: Final = re.compile(r"\r\n|\r|\n")
# What YAML 1.2 calls printable; the surrogates, which no UTF-8 holds, are among the rest.
_CONTROL: Final = re.compile("[^\\x09\\x0a\\x0d\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_WIDE: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def decode(data: bytes, faults: Diagnostics) -> str | None:
    """The file's text without its byte order mark, or None with the reason among the faults."""
    if len(data) > MAX_BYTES:
        faults.add(Place(1, 1), f"this file is larger than {MAX_BYTES // 1024**2} MiB: divide it into several")
        return None
    if wide := _wide(data):
        faults.add(Place(1, 1), f"this file is {wide}: save it as UTF-8")
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").removeprefix(_BOM)
        faults.add(
            place_at(before, len(before)),
            f"byte 0x{data[error.start]:02X} is not UTF-8: save this file as UTF-8",
        )
        return None
    return printable(text, faults)


def printable(text: str, faults: Diagnostics) -> str | None:
    """`text` without its byte order mark, or None if it holds what no YAML file may hold."""
    text = text.removeprefix(_BOM)
    found = 0
    for match in _CONTROL.finditer(text):
        code = f"U+{ord(match[0]):04X}"
        faults.add(
            place_at(text, match.start()),
            f"the control character {code} cannot stand in a YAML file: remove it, "
            f'or write it as an escape in double quotes ("\\x1b" for U+001B)',
        )
        found += 1
        if found == _MAX_NAMED:
            break
    return None if found else text


def place_at(text: str, index: int) -> Place:
    """The line and column of the character at `index`."""
    line, start = 1, 0
    for match in _LINE.finditer(text, 0, index):
        line, start = line + 1, match.end()
    return Place(line, index - start + 1)


def _wide(data: bytes) -> str | None:
    for mark, name in _WIDE:
        if data.startswith(mark):
            return name
    # Without a mark: the first character of a manifest is ASCII, so its other bytes are zeros.
    zeros = [index for index, byte in enumerate(data[:4]) if byte == 0]
    if len(data) >= 4 and zeros in ([1, 2, 3], [0, 1, 2]):
        return "UTF-32"
    return "UTF-16" if zeros in ([1], [0], [1, 3], [0, 2]) and len(data) >= 2 else None


# libyaml ends lines at the first three, as YAML 1.1 did, and refuses the last; to YAML 1.2 they are characters.
_SPECIAL: Final = "\x85\u2028\u2029\ufeff"
_PRIVATE: Final = range(0xE000, 0xF900)


@dataclass(frozen=True, slots=True)
class StandIns:
    """Characters that take the place of those that the YAML library misunderstands while it parses.

    Each is one character for one character, so that columns hold, and stands nowhere else in the text.
    """

    table: dict[int, int]

    @classmethod
    def for_text(cls, text: str) -> StandIns:
        """Those that `text` needs: mostly none."""
        needed = [char for char in _SPECIAL if char in text]
        if not needed:
            return cls({})
        lower = text.lower()
        free = (code for code in _PRIVATE if chr(code) not in text and f"{code:x}" not in lower)
        return cls({ord(char): code for char, code in zip(needed, free, strict=False)})

    def put(self, text: str) -> str:
        """`text` as the library gets it."""
        return text.translate(self.table) if self.table else text

    def take(self, value: str) -> str:
        """A parsed value as it was written."""
        return value.translate({code: char for char, code in self.table.items()}) if self.table else value


def join_surrogates(value: str) -> str:
    """Surrogate pairs, JSON's way to write characters of other planes, joined. Raises UnicodeError for half a pair."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16")
