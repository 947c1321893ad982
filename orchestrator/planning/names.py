"""Reads and compares names in scopes, `reads` and changes. Pure.

In doubt two names match: a refresh that was not needed costs a call, but a missing one leaves a model stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

_QUOTED: Final = {'"': '"', "`": "`", "[": "]"}
# a part in quotes, with doubled quotes in it, or else all up to the next dot
_PART: Final = re.compile(r""""(?:[^"]|"")*"(?=\.|\Z)|`(?:[^`]|``)*`(?=\.|\Z)|\[(?:[^]]|]])*](?=\.|\Z)|[^.]*""")


class Pattern(NamedTuple):
    """The names that a text means: catalog, schema and table, each with `*` and `?` as wildcards; None means any.

    `text` is what was written.
    """

    catalog: str | None
    schema: str | None
    table: str | None
    text: str


def split_name(text: str) -> tuple[str, ...]:
    """Return the parts of a name, divided at dots outside of quotes. Quotes around a whole part are removed."""
    parts: list[str] = []
    end = -1
    while end < len(text):
        part = _PART.match(text, end + 1)
        assert part is not None
        end = part.end()
        parts.append(_bare(part[0]))
    return tuple(parts)


def _bare(part: str) -> str:
    closing = _QUOTED.get(part[:1])
    if closing is None or len(part) < 2 or not part.endswith(closing):
        return part
    return part[1:-1].replace(closing * 2, closing)


def patterns_of_schemas(names: Iterable[str]) -> tuple[Pattern, ...]:
    """Return the patterns in `schemas`: `schema` or `catalog.schema`."""
    return tuple(_schema(split_name(text), text) for text in names)


def patterns_of_tables(names: Iterable[str]) -> tuple[Pattern, ...]:
    """Return the patterns in `tables`: `table`, `schema.table` or `catalog.schema.table`."""
    return tuple(_table(split_name(text), text) for text in names)


def patterns_of_reads(names: Iterable[str]) -> tuple[Pattern, ...]:
    """Return the patterns in `reads`: schemas and tables. Two parts may be `schema.table` or `catalog.schema`, so they become
    both. But `finance.*` is a whole schema.
    """
    found = []
    for text in names:
        parts = split_name(text)
        if len(parts) > 1:
            found.append(_table(parts, text))
        if len(parts) == 1 or (len(parts) == 2 and parts[1].strip("*")):
            found.append(_schema(parts, text))
    return tuple(found)


def _schema(parts: tuple[str, ...], text: str) -> Pattern:
    return Pattern(".".join(parts[:-1]) or None, parts[-1], None, text)


def _table(parts: tuple[str, ...], text: str) -> Pattern:
    return Pattern(".".join(parts[:-2]) or None, parts[-2] if len(parts) > 1 else None, parts[-1], text)


def has_wildcard(text: str) -> bool:
    """Return whether a text can mean more than one name."""
    return "*" in text or "?" in text


def may_be(one: str | None, other: str | None) -> bool:
    """Return whether two texts may mean the same part of a name. Each can have wildcards, or be unknown (None). The case of
    letters does not count.
    """
    return one is None or other is None or _meet(one.lower(), other.lower())


@lru_cache(maxsize=1 << 16)
def _meet(one: str, other: str) -> bool:
    if not has_wildcard(one):
        one, other = other, one
    if not has_wildcard(one):
        return one == other
    return _share_a_name(one, other)


def _share_a_name(one: str, other: str) -> bool:
    """Return whether a name fits both patterns: follow which positions in `other` the letters of `one` can reach."""
    reached = _past_stars(other, {0})
    for letter in one:
        if letter == "*":
            reached = set(range(min(reached), len(other) + 1))
        else:
            stays = {at for at in reached if other[at : at + 1] == "*"}
            moves = {at + 1 for at in reached - stays if other[at : at + 1] in {letter, "?"} or letter == "?"}
            reached = _past_stars(other, {at for at in stays | moves if at <= len(other)})
        if not reached:
            return False
    return len(other) in reached


def _past_stars(pattern: str, positions: set[int]) -> set[int]:
    """Return the positions, and those after the stars at them: a star can mean no letter at all."""
    return {end for at in positions for end in range(at, at + _count_stars(pattern[at:]) + 1)}


def _count_stars(text: str) -> int:
    return len(text) - len(text.lstrip("*"))
