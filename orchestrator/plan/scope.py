"""Scopes that are too long for one URL, divided into several calls that together say the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.omni.answers import RefreshAsk

# Servers answer 414 above this many bytes of request target (field reports; the API documents no limit).
URL_LIMIT = 8000


def split_ask(ask: RefreshAsk, length: Callable[[RefreshAsk], int], limit: int = URL_LIMIT) -> tuple[RefreshAsk, ...]:
    """The calls that cover `ask`, each of at most `limit` bytes as `length` counts them.

    `tables` is divided and each part keeps the schemas that its tables name; a scope of schemas alone is divided as it
    is. A single name that is too long by itself goes out alone and the server decides. Order is kept.
    """
    if length(ask) <= limit:
        return (ask,)
    if ask.tables:
        return tuple(
            replace(ask, tables=part, schemas=_schemas_of(part, ask.schemas))
            for part in _parts(
                ask.tables, lambda p: length(replace(ask, tables=p, schemas=_schemas_of(p, ask.schemas))), limit
            )
        )
    return tuple(
        replace(ask, schemas=part) for part in _parts(ask.schemas, lambda p: length(replace(ask, schemas=p)), limit)
    )


def _parts(names: Sequence[str], length: Callable[[tuple[str, ...]], int], limit: int) -> list[tuple[str, ...]]:
    parts: list[tuple[str, ...]] = []
    start = 0
    while start < len(names):
        low, high = start + 1, len(names)
        # the longest run of names that fits; one name always goes
        while low < high:
            mid = (low + high + 1) // 2
            if length(tuple(names[start:mid])) <= limit:
                low = mid
            else:
                high = mid - 1
        parts.append(tuple(names[start:low]))
        start = low
    return parts


def _schemas_of(tables: Sequence[str], schemas: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `schemas` that the tables name as a prefix; all of them where a table names none of them."""
    kept = set()
    for table in tables:
        owner = table.rpartition(".")[0].lower()
        match = [s for s in schemas if s.lower() == owner or s.lower().endswith("." + owner)] if owner else []
        if not match:
            return schemas
        kept.update(match)
    return tuple(s for s in schemas if s in kept)
