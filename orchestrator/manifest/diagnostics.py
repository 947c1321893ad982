"""The errors and warnings of a YAML file: all at once, each with a stable code and its place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from orchestrator.errors import UsageError
from orchestrator.manifest.excerpt import Excerpt, make_excerpt
from orchestrator.manifest.manifest import ManifestWarning, Place
from orchestrator.text import and_more, clean, near_words

MAX_SHOWN: Final = 50
"""This many errors are printed; the rest is a count."""

MAX_KEPT: Final = 1_000
"""This many errors are kept; others are only counted."""

MAX_TEXT: Final = 7_500
"""Characters in the text of all errors together, without the line that counts the rest."""

_MAX_PATH: Final = 200
_MAX_MESSAGE: Final = 600
_MAX_VALUE: Final = 60
_SHORTEST_SECRET: Final = 4
_USERINFO: Final = re.compile(r"//[^/\s]*@")
_KEY: Final = re.compile(r"omni_[a-z]+_[\w.-]+")


class InvalidValueError(ValueError):
    """A value that cannot be used. `message` says why, `hint` what to do; neither shows a secret.

    A message continues a sentence that begins with the value's name ("is empty"). If `is_sentence`, it is a whole one.
    """

    is_sentence: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message: Final = message
        self.code: Final = code
        self.hint: Final = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One error: its place, its code, what is wrong, and what to do. `excerpt` is its line, if that may be shown."""

    path: str
    place: Place
    code: str
    message: str
    hint: str = ""
    excerpt: Excerpt | None = None

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.path}:{self.place.line}:{self.place.column}: error[{self.code}]: {self.message}{hint}"


class ManifestError(UsageError):
    """A YAML file (a manifest, a scenario) has errors.

    `diagnostics` are at most `MAX_KEPT`, in the file's order; `total` also counts the others. The text has a line for each
    of the first `MAX_SHOWN`, and is shorter than 8,000 characters.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic], *, total: int | None = None) -> None:
        self.diagnostics: Final = tuple(diagnostics)
        self.total: Final = len(self.diagnostics) if total is None else total
        super().__init__(_lines(self.diagnostics, self.total), code=self.diagnostics[0].code)


def _lines(diagnostics: tuple[Diagnostic, ...], total: int) -> str:
    lines: list[str] = []
    room = MAX_TEXT
    for diagnostic in diagnostics[:MAX_SHOWN]:
        line = str(diagnostic)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    if total > len(lines):
        lines.append(f"and {total - len(lines)} more")
    return "\n".join(lines)


class Diagnostics:
    """Collects the errors and warnings of one file. `decoded` is the file's text; empty until it is decoded."""

    def __init__(self, path: str) -> None:
        self.path: Final = path
        self.decoded = ""
        self.warnings: list[ManifestWarning] = []
        self.secrets: list[str] = []
        self._shown_path = show(path, at_most=_MAX_PATH, quotes="")
        self._errors: dict[tuple[Place, str, str, str], None] = {}
        self._more = 0

    @property
    def has_errors(self) -> bool:
        """Whether there is an error."""
        return bool(self._errors)

    @property
    def is_full(self) -> bool:
        """Whether more errors are only counted. Then their texts do not matter."""
        return len(self._errors) >= MAX_KEPT

    def error(self, place: Place, message: str, *, code: str, hint: str = "") -> None:
        """Add an error. Equal errors at one place count once: a value with an anchor is read several times."""
        key = (place, code, message, hint)
        if not self.is_full:
            self._errors[key] = None
        elif key not in self._errors:
            self._more += 1

    def show(self, text: str) -> str:
        """Return `text` for a message, as `show` does, and without the secrets that are known by now."""
        return show(self._without_secrets(text))

    def warn(self, place: Place, message: str, *, code: str, hint: str = "", entry: str | None = None) -> None:
        """Add a warning: something is allowed, but probably not meant."""
        message, hint = _cut(self._without_secrets(message)), _cut(self._without_secrets(hint))
        self.warnings.append(ManifestWarning(place=place, code=code, message=message, hint=hint, entry=entry))

    def stop(self) -> None:
        """Raise ManifestError if there are errors."""
        if not self._errors:
            return
        ordered = sorted(self._errors, key=lambda key: key[0])
        lines = self.decoded.splitlines()
        raise ManifestError(
            (
                Diagnostic(
                    path=self._shown_path,
                    place=place,
                    code=code,
                    message=_cut(self._without_secrets(message)),
                    hint=_cut(self._without_secrets(hint)),
                    excerpt=make_excerpt(lines, place, self.secrets) if number < MAX_SHOWN else None,
                )
                for number, (place, code, message, hint) in enumerate(ordered)
            ),
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
    """Return `text` for a message: on one line, short, without control characters, userinfo in a URL, or a key."""
    shown = clean(_KEY.sub("omni_…", _USERINFO.sub("//…@", text[: 10 * at_most])))
    if len(shown) > at_most or len(text) > 10 * at_most:
        shown = shown[:at_most] + "…"
    return f"{quotes}{shown}{quotes}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is probably meant; None if none is similar."""
    return next(iter(near_words(word[:_MAX_VALUE], known, cutoff=0.65)), None)


def some(words: Iterable[str], *, at_most: int = 10) -> str:
    """Return a list of words for a message, cut after `at_most`."""
    listed = list(words)
    return and_more([show(word, quotes="") for word in listed[:at_most]], len(listed))
