"""Groups a lane's targets into refreshes, and divides a scope that is too long for one URL (docs/reference/lanes-and-collapsing.md). Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from orchestrator.manifest.manifest import Instance, Manifest, Mode, RefreshKind
from orchestrator.omni.address import request_bytes
from orchestrator.omni.answers import RefreshRequest
from orchestrator.planning.plan import Refresh, Target

# Servers answer 414 above this many bytes of request target (field reports; the API documents no limit).
URL_LIMIT = 8000

_HARD, _SOFT, _SCOPED = range(3)
"""How wide a refresh is, the widest first."""


def refreshes(pending: Sequence[Target], manifest: Manifest, *, limit: int = URL_LIMIT) -> Iterator[Refresh]:
    """Yield the refreshes of a lane's `pending` targets (in manifest order), if each of them starts something.

    Targets of one connection and branch share a refresh: the widest among them, if it is hard or has no scope; otherwise equal
    scopes share one. A dbt sync is shared only with dbt syncs of the same model and branch. Of equals the first is sent.
    `limit` is the longest request target, in bytes.
    """
    if not manifest.collapse:
        yield from (_refresh((target,), manifest, limit) for target in pending)
        return
    groups = [_group(target) for target in pending]
    widest: dict[object, int] = {}
    for group, target in zip(groups, pending, strict=True):
        widest[group] = min(widest.get(group, _SCOPED), _width(target))
    shares: dict[object, list[Target]] = {}
    for group, target in zip(groups, pending, strict=True):
        scope = _scope(target) if widest[group] == _SCOPED else None
        shares.setdefault((group, scope), []).append(target)
    yield from (_refresh(tuple(share), manifest, limit) for share in shares.values())


def _refresh(served: tuple[Target, ...], manifest: Manifest, limit: int) -> Refresh:
    sender = min(served, key=lambda t: (_width(t), t.entry.index))
    entry = sender.entry
    request = RefreshRequest(
        model_id=sender.model_id,
        kind=entry.refresh,
        hard=entry.mode is Mode.HARD,
        branch_id=sender.branch_id,
        schemas=entry.schemas,
        tables=entry.tables,
    )
    return Refresh(
        sender=sender,
        covered=tuple(t for t in served if t is not sender),
        requests=split_request(request, manifest.instances[entry.instance], limit),
        timeout_s=max(t.entry.timeout_s for t in served),
        wait=any(t.entry.wait for t in served),
    )


def _group(target: Target) -> tuple[str | None, str | None, str | None]:
    """Return what targets that can share a refresh have in common: connection and branch, and the model for a dbt sync.

    A lane has several connections if one is an environment of another. Each has its own schema.
    """
    is_sync = target.entry.refresh is RefreshKind.DBT_SYNC
    return target.connection, target.branch_id, target.model_id if is_sync else None


def _width(target: Target) -> int:
    if target.entry.mode is Mode.HARD:
        return _HARD
    return _SCOPED if target.entry.schemas or target.entry.tables else _SOFT


def _scope(target: Target) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(target.entry.schemas), frozenset(target.entry.tables)


def split_request(request: RefreshRequest, instance: Instance, limit: int = URL_LIMIT) -> tuple[RefreshRequest, ...]:
    """Return the calls that replace `request`, each with at most `limit` bytes.

    `tables` are divided, and each part keeps the schemas that its tables name. Without tables, `schemas` are divided. A name
    that is too long by itself is sent alone, and the server decides. The order stays.
    """
    if not request.tables or request_bytes(instance, request) <= limit:
        return tuple(_by_schemas(request, instance, limit))
    owners_of = _owners(request.schemas)
    parts = _divide(
        request.tables, lambda part: replace(request, tables=part, schemas=owners_of(part)), instance, limit
    )
    # a table that names no schema keeps them all: such a call is divided by its schemas
    return tuple(call for part in parts for call in _by_schemas(part, instance, limit))


def split_refused(
    requests: Sequence[RefreshRequest], part: int, instance: Instance
) -> tuple[RefreshRequest, ...] | None:
    """Return the calls of a refresh after the server refused `requests[part]` as too long (414).

    The calls before it stay. It and those after it are divided again, into calls of at most half its bytes. Returns None if
    it cannot be divided further.
    """
    limit = request_bytes(instance, requests[part]) // 2
    rest = tuple(piece for request in requests[part:] for piece in split_request(request, instance, limit))
    return None if rest[0] == requests[part] else (*requests[:part], *rest)


def _by_schemas(request: RefreshRequest, instance: Instance, limit: int) -> Iterable[RefreshRequest]:
    if not request.schemas or request_bytes(instance, request) <= limit:
        return (request,)
    return _divide(request.schemas, lambda part: replace(request, schemas=part), instance, limit)


def _divide(
    names: Sequence[str], make: Callable[[tuple[str, ...]], RefreshRequest], instance: Instance, limit: int
) -> Iterator[RefreshRequest]:
    """Yield a call for each part of `names`: as many names as fit, but at least one."""

    def bytes_of(start: int, end: int) -> int:
        return request_bytes(instance, make(tuple(names[start:end])))

    start = 0
    while start < len(names):
        ends = range(start + 1, len(names) + 1)
        end = start + max(1, bisect_right(ends, limit, key=partial(bytes_of, start)))
        yield make(tuple(names[start:end]))
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
