"""Which refresh comes next in a lane, and which targets it serves (docs/reference/lanes-and-collapsing.md). Pure."""

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

    Targets of one connection and branch share the widest refresh among them: a hard one serves them all, and so does a soft
    one without scope if all are soft; otherwise equal scopes share one. Targets with a dbt sync share one with those of the
    same model and branch alone, and never a schema refresh. Of equals the first is sent. The next refresh is that of the
    first target. `limit` is how long a request target may be, in bytes.
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
    """Return what targets that may share a refresh have in common: connection and branch, and of a dbt sync the model.

    A lane has several connections if one is an environment of another: each has a schema of its own.
    """
    is_sync = target.entry.refresh is RefreshKind.DBT_SYNC
    return target.connection, target.branch_id, target.model_id if is_sync else None


def _width(target: Target) -> int:
    if target.entry.mode is Mode.HARD:
        return _HARD
    return _SCOPED if target.entry.schemas or target.entry.tables else _SOFT


def _scope(target: Target) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(target.entry.schemas), frozenset(target.entry.tables)
