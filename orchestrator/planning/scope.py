"""Divides a scope that is too long for one URL into several calls that together mean the same."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from orchestrator.omni.answers import RefreshRequest

# Servers answer 414 above this many bytes of request target (field reports; the API documents no limit).
URL_LIMIT = 8000


def split_request(
    request: RefreshRequest, length: Callable[[RefreshRequest], int], limit: int = URL_LIMIT
) -> tuple[RefreshRequest, ...]:
    """Return the calls that replace `request`, each with at most `limit` bytes, counted by `length`.

    `tables` are divided, and each part keeps the schemas that its tables name. Without tables, `schemas` are divided. A name
    that is too long by itself is sent alone, and the server decides. The order stays.
    """
    if length(request) <= limit or not (request.tables or request.schemas):
        return (request,)
    if not request.tables:
        return tuple(_by_schemas(request, length, limit))
    schemas_of = _owners(request.schemas)
    requests = (
        replace(request, tables=part, schemas=schemas_of(part))
        for part in _parts(request.tables, lambda p: length(replace(request, tables=p, schemas=schemas_of(p))), limit)
    )
    # a table that names no schema keeps them all: such a call is divided by its schemas
    return tuple(
        part for one in requests for part in ([one] if length(one) <= limit else _by_schemas(one, length, limit))
    )


def split_refused(
    requests: Sequence[RefreshRequest], part: int, length: Callable[[RefreshRequest], int]
) -> tuple[RefreshRequest, ...] | None:
    """Return the calls of a refresh after the server refused `requests[part]` as too long (414).

    The calls before it stay. It and those after it are divided again, into calls of at most half its bytes. Returns None if
    it cannot be divided further.
    """
    limit = length(requests[part]) // 2
    rest = tuple(piece for request in requests[part:] for piece in split_request(request, length, limit))
    return None if rest[0] == requests[part] else (*requests[:part], *rest)


def _by_schemas(
    request: RefreshRequest, length: Callable[[RefreshRequest], int], limit: int
) -> Iterator[RefreshRequest]:
    if not request.schemas:
        yield request
    for part in _parts(request.schemas, lambda p: length(replace(request, schemas=p)), limit):
        yield replace(request, schemas=part)


def _parts(names: Sequence[str], length: Callable[[tuple[str, ...]], int], limit: int) -> Iterator[tuple[str, ...]]:
    def bytes_of(start: int, end: int) -> int:
        return length(tuple(names[start:end]))

    start = 0
    while start < len(names):
        ends = range(start + 1, len(names) + 1)
        # as many names as fit, but at least one
        end = start + max(1, bisect_right(ends, limit, key=partial(bytes_of, start)))
        yield tuple(names[start:end])
        start = end


def _owners(schemas: tuple[str, ...]) -> Callable[[Iterable[str]], tuple[str, ...]]:
    """Return a function from tables to those of `schemas` that they name, in any case: for `s.t`, `s` or `catalog.s`.

    If a table names none of the schemas, it returns all of them.
    """
    by_end: dict[str, list[str]] = {}
    for schema in schemas:
        words = schema.lower().split(".")
        for at in range(len(words)):
            by_end.setdefault(".".join(words[at:]), []).append(schema)

    def owners_of(tables: Iterable[str]) -> tuple[str, ...]:
        kept: set[str] = set()
        for table in tables:
            match = by_end.get(table.rpartition(".")[0].lower())
            if not match:
                return schemas
            kept.update(match)
        return tuple(s for s in schemas if s in kept)

    return owners_of
