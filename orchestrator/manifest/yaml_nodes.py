"""A YAML file as a tree. Each node knows its position, and each scalar keeps its source text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from orchestrator.manifest.manifest import Place

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
"""The plain scalars that YAML 1.2 (core schema) reads as null."""

BOOLEANS: Final = {
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
"""The plain scalars that YAML 1.2 (core schema) reads as booleans: not yes, no, on, off, y, n."""

_DECIMAL: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ODD_FLOAT: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
# Python refuses to turn longer texts into integers.
_LONGEST_INT: Final = 4_000

PlainData: TypeAlias = "str | int | float | bool | list[PlainData] | dict[str, PlainData] | None"


# The nodes are not frozen: a file has millions of them, and a frozen dataclass takes three times as long to make.
@dataclass(slots=True, eq=False)
class _Positioned:
    line: int
    column: int

    @property
    def place(self) -> Place:
        """Where the node begins: at its first letter, its bracket, its first `-` or its first key."""
        return Place(self.line, self.column)


@dataclass(slots=True, eq=False)
class Scalar(_Positioned):
    """A text. If `plain`, it has no quotes, and YAML may read it as null, a boolean or a number."""

    text: str
    plain: bool

    @property
    def is_null(self) -> bool:
        """Whether it has no value: a plain `null`, `~`, or nothing at all."""
        return self.plain and self.text in NULLS


@dataclass(slots=True, eq=False)
class Sequence(_Positioned):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Mapping(_Positioned):
    """Keys and values; merge keys are resolved. Keys are texts as written: `on` is "on", `1` is "1"."""

    pairs: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)

    def value(self, key: str) -> Node | None:
        """Return the value of a key; None if it is not written."""
        pair = self.pairs.get(key)
        return None if pair is None else pair[1]


Node: TypeAlias = Scalar | Sequence | Mapping


def items_of(node: Node | None) -> list[Node]:
    """Return the items of a list. A node that is not a list counts as a list of one."""
    return [] if node is None else node.items if isinstance(node, Sequence) else [node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML file. `root` is None if it holds only comments.

    `commented` are lines by their numbers: in these a comment follows a text so closely that it may be meant as a part of it.
    """

    path: str
    root: Node | None
    commented: dict[int, str] = field(default_factory=dict)

    def plain(self) -> PlainData:
        """Return the file as dictionaries, lists and the scalars of YAML 1.2's core schema."""
        return None if self.root is None else plain(self.root)

    def place(self, *keys: str | int) -> Place:
        """Return where the node under these keys and indexes begins. If it does not exist: the deepest one on the way to it."""
        node = self.root
        if node is None:
            return Place(1, 1)
        for key in keys:
            if isinstance(node, Mapping) and key in node.pairs:
                node = node.pairs[str(key)][1]
            elif isinstance(node, Sequence) and isinstance(key, int) and 0 <= key < len(node.items):
                node = node.items[key]
            else:
                break
        return node.place


def plain(node: Node) -> PlainData:
    """Return a node as plain data. The reader bounds the depth, so this can recurse."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, (_, value) in node.pairs.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return core_value(node.text) if node.plain else node.text


def core_value(text: str) -> str | int | float | bool | None:
    """Return a plain scalar as YAML 1.2's core schema reads it."""
    if text in NULLS:
        return None
    if (truth := BOOLEANS.get(text)) is not None:
        return truth
    if len(text) > _LONGEST_INT:
        return text
    for pattern, base in ((_DECIMAL, 10), (_OCTAL, 8), (_HEXADECIMAL, 16)):
        if pattern.fullmatch(text):
            return int(text, 10) if base == 10 else int(text[2:], base)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "", 1)) if _ODD_FLOAT.fullmatch(text) else text
