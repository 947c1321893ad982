"""Cleans text from servers and files, so that it cannot control a terminal or a CI system; joins and compares words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final

# C0 and C1 controls, marks that turn or hide text, lone surrogates, noncharacters. Joiners (U+200C, U+200D) stay: words and emoji need them.
_UNFIT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufdd0-\ufdef"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
_BREAKS: Final = frozenset("\n\x0b\x0c\x85\u2028\u2029")
# GitHub reads `::` only at a line's start; Azure Pipelines and older runners read the other two anywhere in a line.
_COMMAND: Final = re.compile(r"^(?=[^\S\n]*::)|##(?=\[|vso\[)", re.MULTILINE)


def clean(text: str, *, keep_newlines: bool = False) -> str:
    r"""Return the text with each control character spelled out, for example as `\x1b`, so that nothing is lost.

    Line breaks and tabs become spaces; with `keep_newlines` a line break stays one (`\n`). Text that a CI system would take
    for a workflow command (`::error`, `##vso[`, `##[`) is marked so that it does not.
    """
    text = text.replace("\r\n", "\n")
    spelled = _UNFIT.sub(lambda match: _spell(match[0], keep_newlines=keep_newlines), text)
    return _COMMAND.sub(lambda match: "# #" if match[0] else "\\", spelled)


def _spell(char: str, *, keep_newlines: bool) -> str:
    if char in _BREAKS or char == "\t":
        return "\n" if keep_newlines and char == "\n" else " "
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def and_more(words: Sequence[str], total: int, *, separator: str = ", ") -> str:
    """Return `a, b and 3 more`: the first words of a list of `total`, and how many it has besides."""
    shown = separator.join(words)
    return f"{shown} and {total - len(words)} more" if total > len(words) else shown


def some(words: Sequence[str], *, at_most: int = 5) -> str:
    """Return `a, b and 3 more`: the first words of a list, and how many more it has."""
    return and_more(words[:at_most], len(words))


def plural(noun: str, count: int) -> str:
    """Return the noun for this count: `target` or `targets`."""
    return noun if count == 1 else f"{noun}s"


def counted(count: int, noun: str, suffix: str = "s") -> str:
    """Return the count with its noun: `1 target` or `1,200 targets`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{suffix}"


def near_words(word: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return up to `most` known words that are similar to `word`, the nearest first. The case of letters does not count.

    A word with the same letters comes first, because swapped letters are the most frequent mistake. Each comparison takes its
    time: pass at most some thousand words of a usual length.
    """
    folded = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), folded, n=max(most, 3), cutoff=cutoff)
    near.sort(key=lambda one: sorted(one) != sorted(word.lower()))
    return [folded[one] for one in near[:most]]
