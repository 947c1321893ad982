"""The one place that removes secrets from text: for the log, the reports and the errors."""

from __future__ import annotations

import base64
import html
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby
from typing import Any, Final, Protocol

REDACTED: Final = "[redacted]"
"""The text in place of a secret."""


class Revealing(Protocol):
    """A secret, which shows its text only through this method."""

    def reveal(self) -> str:
        """Return the secret's text."""
        ...


_DEPTH: Final = 40
_NUMBERS: Final = (bool, int, float)
_MAPPINGS: Final = (dict, Mapping)
_LISTS: Final = (list, tuple)
_FIELD: Final = re.compile(r"[a-z][a-z_]{0,39}")
# A secret with at least this many characters is replaced everywhere. Encodings need `_SHORTEST_ENCODED` characters.
_ANYWHERE: Final = 4
_SHORTEST_ENCODED: Final = 6
# A word with this many letters is not a common word, so it is found in any case and with line breaks in it.
_SHORTEST_LOOSE: Final = 8
# One pattern excludes all signs by their first `_START` characters. In a text with more than `_LONG` characters per sign, it is
# faster to search for each sign (measured).
_START: Final = 6
_LONG: Final = 8

# How many times escapes are decoded: a percent-encoded text in JSON in HTML, and one more.
_LAYERS: Final = 4
_ESCAPED: Final = re.compile(
    r"(?:%u|\\+u)([0-9a-f]{4})|(?:[%=]|\\+x)([0-9a-f]{2})|\\+u\{([0-9a-f]{1,8})\}|\\+U([0-9a-f]{8})|\\+([0-3][0-7]{2})"
    r"|(&(?:#[0-9]{1,8}|#x[0-9a-f]{1,8}|[a-z]\w{1,30});?)|(=\r?\n|\\+[nrt])|\\([^\w\s])",
    re.IGNORECASE | re.ASCII,
)
_ESCAPES: Final = re.compile(r"[%&=\\]")
_OCTAL, _ENTITY, _BREAK, _CHARACTER = 5, 6, 7, 8
# Characters that may interrupt a secret: blanks, line ends, zero-width characters.
_BREAKS: Final = frozenset("\0\t\n\v\f\r \x85\xa0\xad\u2028\u2029\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")
_DIGITS: Final = frozenset("0123456789abcdefghijklmnopqrstuvwxyz")
_LOWER: Final = bytes(range(256)).lower()
_SET_APART: Final = bytes(code for code in range(256) if not bytes([code]).isalnum())
_PROSE: Final = r"tokens?|keys?|auth\w*|credentials?|scheme|realm|error|scope|headers?|is|are|was|or|and|not|required|invalid|expired"
_HEADER: Final = r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic)\s+)?+)(?!\[)[^\s\"',;]+"
_BEARER: Final = rf"(?i)\b(bearer(?:\s+|%20|\+))(?!(?:{_PROSE})\b)[\w.~+/=-]+"

_PATTERNS: Final = (
    ("@", re.compile(r"(:\\?/\\?/)[^\s/?#\"'<>]*@"), rf"\1{REDACTED}@"),
    ("authorization", re.compile(_HEADER), rf"\1{REDACTED}"),
    ("bearer", re.compile(_BEARER), rf"\1{REDACTED}"),
    ("omni_", re.compile(r"\bomni_(?:osk|pat)_[\w.~+/=-]+"), REDACTED),
)
"""Texts that look like secrets: a word that the text must contain, the pattern, and the replacement."""


class Redactor:
    """Removes known secrets in every form from text, and what looks like a secret.

    Forms: plain in any case, each character escaped or not (percent, HTML, JSON, Python), with line breaks, hexadecimal
    with or without separators, base64 at each alignment, base32; each of these escaped again. Patterns: credentials in
    URLs, `Bearer ...`, `Authorization: ...`, Omni's own keys. A secret of two or three characters is replaced only as a
    separate word, and one of a single character only if it is the whole text; otherwise ordinary text would be lost.
    """

    def __init__(self, secrets: Iterable[Revealing] = ()) -> None:
        # a thread may add a secret while another one redacts
        self._lock = threading.Lock()
        self._known: dict[str, _Forms] = {}
        self._secrets: dict[bytes, list[str]] = {}
        self._any_start: re.Pattern[bytes] | None = None
        self._words: list[re.Pattern[str]] = []
        self._wholes: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Revealing) -> None:
        """Remove this secret, too, from now on. An empty secret, or one that is part of `[redacted]`, is ignored."""
        text = secret.reveal()
        if not text.strip() or text in REDACTED or text in self._known:
            return
        forms = _Forms.of(text)
        with self._lock:
            if len(text) == 1:
                self._wholes.add(text)
            elif len(text) < _ANYWHERE:
                self._words.append(re.compile(rf"(?<!\w){re.escape(text)}(?!\w)"))
            self._known[text] = forms
            for sign in forms.signs:
                self._secrets.setdefault(sign, []).append(text)
            self._any_start = None

    def redact(self, value: Any) -> Any:
        """Return `value` without secrets in texts and bytes, also inside lists, tuples and dictionaries.

        Numbers, booleans and None stay. An exception becomes `Type: text`, any other object its text. A dictionary's keys
        are redacted too, except plain field names: they are the program's own words.
        """
        texts: list[str] = []

        def keep(text: str) -> str:
            texts.append(text)
            return text

        # few values hold a secret, and one search in all texts costs less than one in each
        plain = walk(value, keep, _DEPTH)
        return walk(plain, self._text, _DEPTH) if self._may_hold_secrets(texts) else plain

    def without_known(self, text: str) -> str:
        """Return the text without the known secrets. What only looks like a secret stays."""
        known = self._forms_in(text)
        if known:
            text = _replace(text, known)
        for word in self._words:
            text = word.sub(REDACTED, text)
        return text

    def _may_hold_secrets(self, texts: Sequence[str]) -> bool:
        """Return whether one of the texts may hold a secret. They are joined by NUL, which matches no word and no blank."""
        joined = "\0".join(texts)
        lowered = joined.lower()
        return (
            any(hint in lowered and pattern.search(joined) for hint, pattern, _ in _PATTERNS)
            or bool(self._forms_in(joined))
            or any(word.search(joined) for word in self._words)
            or not self._wholes.isdisjoint(texts)
        )

    def _text(self, text: str) -> str:
        text = self.without_known(text)
        lowered = text.lower()
        for hint, pattern, replacement in _PATTERNS:
            if hint in lowered:
                text = pattern.sub(replacement, text)
        return REDACTED if text in self._wholes else text

    def _forms_in(self, text: str) -> list[_Forms]:
        """Return the forms of the known secrets whose signs a text contains."""
        layers = [_squeeze(layer) for layer in _layers(text)]
        with self._lock:
            signs: set[bytes] = set()
            self._any_start = self._any_start or _any_of({sign[:_START] for sign in self._secrets})
            for layer in layers:
                if len(layer) > _LONG * len(self._secrets) or self._any_start.search(layer):
                    signs.update(sign for sign in self._secrets if sign in layer)
            return [self._known[secret] for secret in {secret for sign in signs for secret in self._secrets[sign]}]


def _any_of(words: Iterable[bytes]) -> re.Pattern[bytes]:
    """Return a pattern for any of these words of letters and digits, grouped by the first so that few are tried."""
    groups = groupby(sorted(words), key=lambda word: word[:1])
    return re.compile(
        b"|".join(b"%s(?:%s)" % (first, b"|".join(word[1:] for word in group)) for first, group in groups)
    )


@dataclass(frozen=True, slots=True)
class _Forms:
    """How a secret may be written after escapes are decoded.

    `exact` are searched in the text itself, `loose` in its lower-case text without breaks, `digits` in its squeezed text. If
    the squeezed text contains none of the `signs`, the text contains no form; this check is fast.
    """

    exact: tuple[str, ...]
    loose: tuple[str, ...]
    digits: tuple[str, ...]
    signs: tuple[bytes, ...]

    @classmethod
    def of(cls, text: str) -> _Forms:
        raw = text.encode("utf-8", "surrogatepass")
        encoded = (raw.hex(), "0x".join(f"{byte:02x}" for byte in raw), *_base64_digits(raw), *_base32_digits(raw))
        squeezed = [each for each in map(_squeeze, encoded) if len(each) >= _SHORTEST_ENCODED]
        digits = tuple(each.decode() for each in squeezed)
        if len(text) < _ANYWHERE and len(raw) < _SHORTEST_ENCODED:
            return cls((), (), digits, tuple(squeezed))
        # escaped by bytes, by UTF-16 units, or as a form's value
        units = text.encode("utf-16-be", "surrogatepass")
        halves = "".join(chr(int.from_bytes(units[at : at + 2])) for at in range(0, len(units), 2))
        ways = (text, raw.decode("latin-1"), halves)
        # an escape in the secret itself is decoded with those around it
        layers = (each for way in ways for spaced in (way, way.replace(" ", "+")) for each in _layers(spaced))
        written = tuple(dict.fromkeys(layers))
        loose = tuple(map(_loosen, written))
        # a short word in another case, or with breaks, is prose
        is_word = len(text) < _SHORTEST_LOOSE and text.isalpha() and text.isascii()
        if is_word or len(loose[0]) < _ANYWHERE:
            loose = ()
        signs = dict.fromkeys(map(_squeeze, written))
        return cls(written, loose, digits, (*signs, *squeezed))


def _squeeze(text: str) -> bytes:
    """Return the letters and digits of a text, in lower case."""
    return text.encode("utf-8", "surrogatepass").translate(_LOWER, _SET_APART)


def _loosen(text: str) -> str:
    """Return a text in lower case without breaks. Each character stays one character."""
    return "".join(low if len(low := char.lower()) == 1 else char for char in text if char not in _BREAKS)


def _layers(text: str) -> list[str]:
    """Return the text, the text with its escapes decoded, that text with its escapes decoded, and so on."""
    layers = [text]
    if _ESCAPES.search(text) is None:
        return layers
    while len(layers) <= _LAYERS and (text := _ESCAPED.sub(_meant, text)) != layers[-1]:
        layers.append(text)
    return layers


def _meant(escape: re.Match[str]) -> str:
    """Return the text that an escape stands for."""
    kind = escape.lastindex or _CHARACTER
    if kind == _ENTITY:
        return html.unescape(f"{escape[kind].removesuffix(';')};")
    if kind == _BREAK:
        return {"r": "\r", "t": "\t"}.get(escape[0][-1], "\n")
    if kind == _CHARACTER:
        return escape[kind]
    code = int(escape[kind], 8 if kind == _OCTAL else 16)
    return chr(code) if code <= sys.maxunicode else escape[0]


def _replace(text: str, known: Sequence[_Forms]) -> str:
    """Return the text without these secrets. They are found in the decoded text and replaced in the text itself."""
    spans: list[tuple[int, int]] = []
    chars, places = text, [(at, at + 1) for at in range(len(text))]
    for _ in range(_LAYERS + 1):
        spans += _spans(chars, places, known)
        changed: list[str] = []
        moved: list[tuple[int, int]] = []
        done = 0
        for match in _ESCAPED.finditer(chars):
            start, end = match.span()
            meant = _meant(match)
            changed += (chars[done:start], meant)
            moved += places[done:start] + [(places[start][0], places[end - 1][1])] * len(meant)
            done = end
        if not done:
            break
        chars, places = "".join((*changed, chars[done:])), moved + places[done:]
    shown: list[str] = []
    done = 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= done:
            shown += (text[done:start], REDACTED)
        done = max(done, end)
    return "".join((*shown, text[done:]))


def _spans(chars: str, places: Sequence[tuple[int, int]], known: Sequence[_Forms]) -> Iterator[tuple[int, int]]:
    """Yield where these secrets are in `chars`, as places in the original text."""
    loose = [
        (low if len(low := char.lower()) == 1 else char, at) for at, char in enumerate(chars) if char not in _BREAKS
    ]
    squeezed = [(char, at) for char, at in loose if char in _DIGITS]
    views = [
        ([forms.exact for forms in known], chars, range(len(chars))),
        ([forms.loose for forms in known], "".join(char for char, _ in loose), [at for _, at in loose]),
        ([forms.digits for forms in known], "".join(char for char, _ in squeezed), [at for _, at in squeezed]),
    ]
    for wanted, view, indexes in views:
        for part in chain.from_iterable(wanted):
            start = view.find(part)
            while start >= 0:
                end = start + len(part)
                yield places[indexes[start]][0], places[indexes[end - 1]][1]
                start = view.find(part, end)


def _base64_digits(raw: bytes) -> Iterator[str]:
    """Yield the base64 digits that depend only on these bytes, for each of the three alignments."""
    for shift in range(3):
        # the digits at both ends also depend on the neighbours
        first, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        yield base64.b64encode(bytes(shift) + raw).decode()[first:end]


def _base32_digits(raw: bytes) -> Iterator[str]:
    """Yield the base32 digits, for each of the five alignments."""
    for shift in range(5):
        first, end = -(-shift * 8 // 5), (shift + len(raw)) * 8 // 5
        yield base64.b32encode(bytes(shift) + raw).decode()[first:end]


def walk(value: Any, change: Callable[[str], str], depth: int) -> Any:
    """Return `value` with each text in it changed. A container nested deeper than `depth` becomes `…`."""
    if isinstance(value, str):
        return change(value)
    if value is None or isinstance(value, _NUMBERS):
        return value
    if isinstance(value, bytes):
        return change(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if isinstance(value, BaseException):
        return change(f"{type(value).__name__}: {value}")
    if depth > 0 and isinstance(value, _MAPPINGS):
        return {_key(key, change, depth): walk(item, change, depth - 1) for key, item in value.items()}
    if depth > 0 and isinstance(value, _LISTS):
        items = [walk(item, change, depth - 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return change(str(value)) if depth > 0 else "…"


def _key(key: Any, change: Callable[[str], str], depth: int) -> Any:
    return key if isinstance(key, str) and _is_field(key) else walk(key, change, depth)


@lru_cache(maxsize=1000)
def _is_field(key: str) -> bool:
    return _FIELD.fullmatch(key) is not None
