"""The one place where secrets are taken out of text: for the log, the reports, the errors."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"
"""What stands in place of a secret."""


class Revealing(Protocol):
    """A secret: something that gives its text only when asked for it by this name."""

    def reveal(self) -> str:
        """The secret's text."""
        ...


_DEPTH: Final = 40
_FIELD: Final = re.compile(r"[a-z][a-z_]{0,39}")
# A secret of this many characters is replaced wherever it stands; a shorter one only in encodings of this many.
_ANYWHERE: Final = 4
_SHORTEST_ENCODED: Final = 6
_PROSE: Final = r"tokens?|keys?|auth\w*|credentials?|scheme|realm|error|scope|headers?|is|are|was|or|and|not|required|invalid|expired"
_HEADER: Final = r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic)\s+)?+)(?!\[)[^\s\"',;]+"
_BEARER: Final = rf"(?i)\b(bearer(?:\s+|%20|\+))(?!(?:{_PROSE})\b)[\w.~+/=-]+"

_PATTERNS: Final = (
    ("@", re.compile(r"(:\\?/\\?/)[^\s/?#\"'<>]*@"), rf"\1{REDACTED}@"),
    ("authorization", re.compile(_HEADER), rf"\1{REDACTED}"),
    ("bearer", re.compile(_BEARER), rf"\1{REDACTED}"),
    ("omni_", re.compile(r"\bomni_(?:osk|pat)_[\w.~+/=-]+"), REDACTED),
)
"""What looks like a secret: a word that is cheap to look for, the pattern, and what stands in its place."""


class Redactor:
    """Takes secrets out of text: those it is told of, in every form that they may take, and what looks like one.

    Forms: plain, percent-encoded, JSON-, HTML- and Python-escaped, hexadecimal, base64 at each alignment. Patterns:
    credentials in URLs, `Bearer ...`, `Authorization: ...`, Omni's own keys. A secret of two or three characters is
    replaced only where it stands alone, one of a single character only where it is the whole text: else it would
    shred everything.
    """

    def __init__(self, secrets: Iterable[Revealing] = ()) -> None:
        self._forms: list[str] = []
        self._words: list[re.Pattern[str]] = []
        self._wholes: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Revealing) -> None:
        """Take this secret out, too, from now on. An empty one, and one that stands in `[redacted]`, is ignored."""
        text = secret.reveal()
        if not text.strip() or text in REDACTED:
            return
        shortest = _ANYWHERE
        if len(text) == 1:
            self._wholes.add(text)
        if 1 < len(text) < _ANYWHERE:
            self._words.append(re.compile(rf"(?<!\w){re.escape(text)}(?!\w)"))
        if len(text) < _ANYWHERE:
            shortest = _SHORTEST_ENCODED
        found = {form for form in _forms(text) if len(form) >= shortest}
        self._forms = sorted(found.union(self._forms), key=lambda form: (-len(form), form))

    def redact(self, value: Any) -> Any:
        """`value` without secrets: text, bytes, and whatever stands in lists, tuples and dictionaries, to any depth.

        Numbers, booleans and None stay; an exception becomes `Type: text`; any other object becomes its text. A
        dictionary's keys are redacted as well, but for plain field names: they are the program's own words.
        """
        return walk(value, self._text, _DEPTH)

    def _text(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        for word in self._words:
            text = word.sub(REDACTED, text)
        lowered = text.lower()
        for hint, pattern, replacement in _PATTERNS:
            if hint in lowered:
                text = pattern.sub(replacement, text)
        return REDACTED if text in self._wholes else text


def _forms(text: str) -> Iterator[str]:
    """The secret's text in each way in which it may be written somewhere."""
    raw = text.encode("utf-8", "surrogatepass")
    percent = quote(raw, safe="")
    yield from (text, percent, quote(raw), quote_plus(raw), quote(percent, safe=""))
    yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), percent)
    escaped = json.dumps(text)[1:-1]
    yield from (escaped, json.dumps(escaped)[1:-1], escaped.replace("/", r"\/"))
    yield from (json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1], repr(raw)[2:-1], html.escape(text))
    yield from (raw.hex(), raw.hex().upper())
    for shift in range(3):
        # Characters that depend on a neighbour of the secret are left out at both ends.
        first, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(shift) + raw).decode()[first:end]


def walk(value: Any, change: Callable[[str], str], depth: int) -> Any:
    """`value` with each text in it changed; a container nested deeper than `depth` becomes its text."""
    if isinstance(value, str):
        return change(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return change(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if isinstance(value, BaseException):
        return change(f"{type(value).__name__}: {value}")
    if depth > 0 and isinstance(value, Mapping):
        return {_key(key, change, depth): walk(item, change, depth - 1) for key, item in value.items()}
    if depth > 0 and isinstance(value, list | tuple):
        items = [walk(item, change, depth - 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return change(str(value)) if depth > 0 else "…"


def _key(key: Any, change: Callable[[str], str], depth: int) -> Any:
    return key if isinstance(key, str) and _FIELD.fullmatch(key) else walk(key, change, depth)
