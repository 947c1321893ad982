"""The one place where secrets are taken out of text: for the log, the reports, the errors."""

from __future__ import annotations

import base64
import html
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Protocol

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
# A word of this many letters is no common one: it is found in any case, and broken over lines.
_SHORTEST_LOOSE: Final = 8
# Signs of known secrets are found by their first characters, or wholly if they are shorter.
_START: Final = 6

# So many times escapes are undone: a percent-encoded text in JSON in HTML, and one more.
_LAYERS: Final = 4
_ESCAPED: Final = re.compile(
    r"(?:%u|\\+u)([0-9a-f]{4})|(?:[%=]|\\+x)([0-9a-f]{2})|\\+u\{([0-9a-f]{1,8})\}|\\+U([0-9a-f]{8})|\\+([0-3][0-7]{2})"
    r"|(&(?:#[0-9]{1,8}|#x[0-9a-f]{1,8}|[a-z]\w{1,30});?)|(=\r?\n|\\+[nrt])|\\([^\w\s])",
    re.IGNORECASE | re.ASCII,
)
_ESCAPES: Final = re.compile(r"[%&=\\]")
_OCTAL, _ENTITY, _BREAK, _CHARACTER = 5, 6, 7, 8
# What may stand between two characters of a secret: blanks, ends of lines, characters without width.
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
"""What looks like a secret: a word that is cheap to look for, the pattern, and what stands in its place."""


class Redactor:
    """Takes secrets out of text: the known ones in every form that they may take, and what looks like one.

    Forms: plain in any case, each character escaped or not (percent, HTML, JSON, Python), broken over lines, hexadecimal
    with or without separators, base64 at each alignment, base32; each of these escaped again. Patterns: credentials in
    URLs, `Bearer ...`, `Authorization: ...`, Omni's own keys. A secret of two or three characters is replaced only where
    it stands alone, one of a single character only where it is the whole text: else it would shred everything.
    """

    def __init__(self, secrets: Iterable[Revealing] = ()) -> None:
        self._known: dict[str, _Forms] = {}
        self._signs: dict[bytes, set[bytes]] = {}
        self._secrets: dict[bytes, list[str]] = {}
        self._shortest = sys.maxsize
        self._words: list[re.Pattern[str]] = []
        self._wholes: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Revealing) -> None:
        """Take this secret out, too, from now on. An empty one, and one that stands in `[redacted]`, is ignored."""
        text = secret.reveal()
        if not text.strip() or text in REDACTED or text in self._known:
            return
        if len(text) == 1:
            self._wholes.add(text)
        elif len(text) < _ANYWHERE:
            self._words.append(re.compile(rf"(?<!\w){re.escape(text)}(?!\w)"))
        forms = self._known[text] = _Forms.of(text)
        for sign in forms.signs:
            self._signs.setdefault(sign[:_START], set()).add(sign)
            self._secrets.setdefault(sign, []).append(text)
        self._shortest = min(self._shortest, len(text))

    def redact(self, value: Any) -> Any:
        """`value` without secrets: text, bytes, and whatever stands in lists, tuples and dictionaries, to any depth.

        Numbers, booleans and None stay; an exception becomes `Type: text`; any other object becomes its text. A
        dictionary's keys are redacted as well, but for plain field names: they are the program's own words.
        """
        return walk(value, self._text, _DEPTH)

    def without_known(self, text: str) -> str:
        """`text` without the known secrets; what only looks like one stays."""
        return self._without_known(text) if len(text) >= self._shortest else text

    def _text(self, text: str) -> str:
        text = self.without_known(text)
        lowered = text.lower()
        for hint, pattern, replacement in _PATTERNS:
            if hint in lowered:
                text = pattern.sub(replacement, text)
        return REDACTED if text in self._wholes else text

    def _without_known(self, text: str) -> str:
        signs = set(chain.from_iterable(map(self._signs_in, map(_squeeze, _layers(text)))))
        if signs:
            secrets = {secret for sign in signs for secret in self._secrets[sign]}
            text = _replace(text, [self._known[secret] for secret in secrets])
        for word in self._words:
            text = word.sub(REDACTED, text)
        return text

    def _signs_in(self, layer: bytes) -> Iterable[bytes]:
        """The signs in a squeezed text. Many keys have thousands of signs: a short text is looked up, not searched."""
        if len(self._secrets) < len(layer):
            return (sign for sign in self._secrets if sign in layer)
        starts = {
            layer[at : at + length] for length in {*map(len, self._signs)} for at in range(len(layer) + 1 - length)
        }
        return (sign for start in self._signs.keys() & starts for sign in self._signs[start] if sign in layer)


@dataclass(frozen=True, slots=True)
class _Forms:
    """How a secret may be written, once escapes are undone.

    `exact` stand in the text as they are, `loose` in its lower-case text without breaks, `digits` in its squeezed text.
    Where none of the `signs` stands in the squeezed text, none of all these stands there: that is quick to see.
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
        # what is escaped by bytes, by UTF-16 units, or as a form's value
        units = text.encode("utf-16-be", "surrogatepass")
        halves = "".join(chr(int.from_bytes(units[at : at + 2])) for at in range(0, len(units), 2))
        ways = (text, raw.decode("latin-1"), halves)
        # an escape in the secret itself is undone with those around it
        layers = (each for way in ways for spaced in (way, way.replace(" ", "+")) for each in _layers(spaced))
        written = tuple(dict.fromkeys(layers))
        loose = tuple(map(_loosen, written))
        # a short word in another case, or in pieces, is prose
        is_word = len(text) < _SHORTEST_LOOSE and text.isalpha() and text.isascii()
        if is_word or len(loose[0]) < _ANYWHERE:
            loose = ()
        signs = dict.fromkeys(map(_squeeze, written))
        return cls(written, loose, digits, (*signs, *squeezed))


def _squeeze(text: str) -> bytes:
    """The letters and digits of a text, in lower case."""
    return text.encode("utf-8", "surrogatepass").translate(_LOWER, _SET_APART)


def _loosen(text: str) -> str:
    """A text in lower case without what may break it; each character stays one."""
    return "".join(low if len(low := char.lower()) == 1 else char for char in text if char not in _BREAKS)


def _layers(text: str) -> list[str]:
    """The text, and the texts that its escapes stand for: those of the text, those of what comes out, and so on."""
    layers = [text]
    if _ESCAPES.search(text) is None:
        return layers
    while len(layers) <= _LAYERS and (text := _ESCAPED.sub(_meant, text)) != layers[-1]:
        layers.append(text)
    return layers


def _meant(escape: re.Match[str]) -> str:
    """What an escape stands for."""
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
    """The text without these secrets: found in what it means, and replaced where that is written."""
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
    """Where these secrets stand in `chars`, as places in the text that it was made from."""
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
    """The digits that stand for these bytes alone, at each of the three alignments."""
    for shift in range(3):
        # digits that depend on a neighbour of the secret are left out at both ends
        first, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        yield base64.b64encode(bytes(shift) + raw).decode()[first:end]


def _base32_digits(raw: bytes) -> Iterator[str]:
    """The same for base32 and its five alignments."""
    for shift in range(5):
        first, end = -(-shift * 8 // 5), (shift + len(raw)) * 8 // 5
        yield base64.b32encode(bytes(shift) + raw).decode()[first:end]


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
