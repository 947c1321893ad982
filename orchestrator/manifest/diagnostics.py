"""What is wrong with a file: every fault at once, each with its place, in words for a person."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import ManifestWarning, Place
from orchestrator.text import clean

MAX_SHOWN: Final = 50
"""So many faults are printed; the rest is a count."""

MAX_KEPT: Final = 1_000
"""So many are kept at all."""

_MAX_TEXT: Final = 7_500
_MAX_PATH: Final = 200
_MAX_MESSAGE: Final = 600
_MAX_VALUE: Final = 60
_SHORTEST_SECRET: Final = 4
_USERINFO: Final = re.compile(r"//[^/\s]*@")
_KEY: Final = re.compile(r"omni_[a-z]+_[\w.-]+")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong: in which file, where, and what to do about it."""

    path: str
    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.place.line}:{self.place.column}: {self.message}"


class ManifestError(UsageError):
    """A YAML file (a manifest, a scenario) is wrong.

    `faults` are in the file's order, at most `MAX_KEPT`; `total` counts those that were not kept as well. The text
    has a line for each of the first `MAX_SHOWN`, and stays below 8,000 characters.
    """

    def __init__(self, faults: Iterable[Diagnostic], *, total: int | None = None) -> None:
        self.faults: Final = tuple(faults)
        self.total: Final = len(self.faults) if total is None else total
        super().__init__(_lines(self.faults, self.total))


def _lines(faults: tuple[Diagnostic, ...], total: int) -> str:
    lines: list[str] = []
    room = _MAX_TEXT
    for fault in faults[:MAX_SHOWN]:
        line = str(fault)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    if total > len(lines):
        lines.append(f"and {total - len(lines)} more")
    return "\n".join(lines)


class Diagnostics:
    """Where the readers of one file put what they find wrong, or only odd."""

    def __init__(self, path: str) -> None:
        self.path: Final = path
        self.warnings: list[ManifestWarning] = []
        self.secrets: list[str] = []
        self._shown_path = show(path, at_most=_MAX_PATH, quotes="")
        self._faults: dict[tuple[Place, str], None] = {}
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._faults)

    @property
    def is_full(self) -> bool:
        """Whether more faults are only counted: their words need no care."""
        return len(self._faults) >= MAX_KEPT

    def add(self, place: Place, message: str) -> None:
        """Something is wrong at `place`. The same words for the same place count once: an anchor is used many times."""
        key = (place, message)
        if not self.is_full:
            self._faults[key] = None
        elif key not in self._faults:
            self._more += 1

    def show(self, text: str) -> str:
        """`text` for a message, see `show`; without any secret that is known by now."""
        return show(self._without_secrets(text))

    def warn(self, place: Place, message: str, *, entry: str | None = None) -> None:
        """Something is allowed and probably not meant."""
        self.warnings.append(ManifestWarning(place=place, message=_cut(self._without_secrets(message)), entry=entry))

    def stop(self) -> None:
        """Raises ManifestError if anything was wrong."""
        if not self._faults:
            return
        ordered = sorted(self._faults, key=lambda key: key[0])
        raise ManifestError(
            (Diagnostic(self._shown_path, place, _cut(self._without_secrets(message))) for place, message in ordered),
            total=len(ordered) + self._more,
        )

    def _without_secrets(self, message: str) -> str:
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                message = message.replace(secret, "…")
        return message


def _cut(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else message[:_MAX_MESSAGE] + "…"


def show(text: str, *, at_most: int = _MAX_VALUE, quotes: str = '"') -> str:
    """`text` on one line for a message: shortened, without control characters, userinfo in a URL, or a key."""
    shown = clean(_KEY.sub("omni_…", _USERINFO.sub("//…@", text[: 10 * at_most])))
    if len(shown) > at_most or len(text) > 10 * at_most:
        shown = shown[:at_most] + "…"
    return f"{quotes}{shown}{quotes}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if one is near."""
    found = difflib.get_close_matches(word[:_MAX_VALUE], list(known), n=1, cutoff=0.65)
    return found[0] if found else None


def some(words: Iterable[str], *, at_most: int = 10) -> str:
    """A list of words for a message, cut after `at_most`."""
    listed = list(words)
    shown = ", ".join(show(word, quotes="") for word in listed[:at_most])
    return shown if len(listed) <= at_most else f"{shown} and {len(listed) - at_most} more"
