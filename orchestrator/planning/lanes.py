"""Groups a lane's targets into refreshes (docs/reference/lanes-and-collapsing.md). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from orchestrator.manifest.manifest import Manifest, Mode, RefreshKind
from orchestrator.omni.address import request_bytes
from orchestrator.omni.answers import RefreshRequest
from orchestrator.planning.plan import Refresh, Target
from orchestrator.planning.scope import URL_LIMIT, split_request

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
        requests=split_request(request, partial(request_bytes, manifest.instances[entry.instance]), limit),
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
