"""Names in scopes, `reads` and changes: read from text, and compared so that a doubt counts as a match. Pure.

A model that is refreshed for nothing costs a call; one that is left out stays stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

_QUOTED: Final = {'"': '"', "`": "`", "[": "]"}


class Pattern(NamedTuple):
    """Which names are meant: catalog, schema and table, each with `*` and `?` for any letters; None means any.

    `text` is what was written, which is how a server or a person calls it.
    """

    catalog: str | None
    schema: str | None
    table: str | None
    text: str


def split_name(text: str) -> tuple[str, ...]:
    """The parts of a name, divided at dots that stand in no quotes; quotes around a whole part are taken off."""
    parts, start, here = [], 0, 0
    while here < len(text):
        closing = _QUOTED.get(text[here]) if here == start else None
        if closing is not None and (end := _quote_ends(text, here, closing)) is not None:
            here = end
        elif text[here] == ".":
            parts.append(text[start:here])
            start = here = here + 1
        else:
            here += 1
    parts.append(text[start:])
    return tuple(_bare(part) for part in parts)


def _quote_ends(text: str, at: int, closing: str) -> int | None:
    """Return the position after the quote that closes the part that begins at `at`; None if no quote does."""
    here = at + 1
    while (here := text.find(closing, here)) >= 0:
        if text[here + 1 : here + 2] == closing:
            here += 2
        else:
            return here + 1 if text[here + 1 : here + 2] in {"", "."} else None
    return None


def _bare(part: str) -> str:
    closing = _QUOTED.get(part[:1])
    if closing is None or len(part) < 2 or not part.endswith(closing):
        return part
    return part[1:-1].replace(closing * 2, closing)


def patterns_of_schemas(names: Iterable[str]) -> tuple[Pattern, ...]:
    """The entries of `schemas`: a schema, or its catalog and it."""
    return tuple(_schema(split_name(text), text) for text in names)


def patterns_of_tables(names: Iterable[str]) -> tuple[Pattern, ...]:
    """The entries of `tables`: a table, its schema and it, or its catalog as well."""
    return tuple(_table(split_name(text), text) for text in names)


def patterns_of_reads(names: Iterable[str]) -> tuple[Pattern, ...]:
    """The entries of `reads`: a schema or a table. Two parts are a schema and its table, or a catalog and its schema, for
    it is not known which; but `finance.*` is all of a schema.
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
    """Whether more than one name may be meant."""
    return "*" in text or "?" in text


def may_be(one: str | None, other: str | None) -> bool:
    """Whether both may mean the same part of a name. Either may be unknown (None) or hold wildcards; the case of letters does
    not count.
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
    """Whether two patterns have a name in common: which positions in `other` each letter of `one` can lead to."""
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
    """Return the positions, and those behind the stars that stand there: a star may stand for nothing."""
    return {end for at in positions for end in range(at, at + _count_stars(pattern[at:]) + 1)}


def _count_stars(text: str) -> int:
    return len(text) - len(text.lstrip("*"))
