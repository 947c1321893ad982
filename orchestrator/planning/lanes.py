"""Which refresh comes next in a lane, and which targets it serves (docs/reference/lanes-and-collapsing.md). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from orchestrator.manifest.manifest import Manifest, Mode, RefreshKind
from orchestrator.omni.address import request_bytes
from orchestrator.omni.answers import RefreshRequest
from orchestrator.planning.plan import Refresh, Target
from orchestrator.planning.scope import URL_LIMIT, split_request


def next_refresh(pending: Sequence[Target], manifest: Manifest, *, limit: int = URL_LIMIT) -> Refresh:
    """Return the next refresh of a lane's `pending` targets (not empty, in manifest order).

    It is for the group of the first target: the targets of the same connection and branch. A dbt sync is shared by targets of the same model and
    branch alone, and never with a schema refresh. The widest refresh of the group is sent: a hard
    one serves the whole group, a soft one without scope the soft ones, and equal scopes share one. Of equals the first is sent.
    `limit` is how long a request target may be, in bytes.
    """
    first = pending[0]
    group = [t for t in pending if _group(t) == _group(first)] if manifest.collapse else [first]
    sender = min(group, key=lambda t: (_width(t), t.entry.index))
    return _refresh(sender, tuple(t for t in group if t is not sender and _serves(sender, t)), manifest, limit)


def refreshes(pending: Sequence[Target], manifest: Manifest) -> Iterator[Refresh]:
    """Yield all refreshes of a lane in order, if each of them starts something: repeated `next_refresh`, in one pass."""
    if not manifest.collapse:
        yield from (_refresh(target, (), manifest) for target in pending)
        return
    narrowest = 2
    widest: dict[object, int] = {}
    for target in pending:
        widest[_group(target)] = min(widest.get(_group(target), narrowest), _width(target))
    # one refresh for a whole branch if any is wide enough for that, else one for each scope; in the order of the first
    shares: dict[tuple[object, object], list[Target]] = {}
    for target in pending:
        scope = _scope(target) if widest[_group(target)] == narrowest else None
        shares.setdefault((_group(target), scope), []).append(target)
    for share in shares.values():
        sender = min(share, key=lambda t: (_width(t), t.entry.index))
        yield _refresh(sender, tuple(t for t in share if t is not sender), manifest)


def _refresh(sender: Target, covered: tuple[Target, ...], manifest: Manifest, limit: int = URL_LIMIT) -> Refresh:
    entry = sender.entry
    request = RefreshRequest(
        model_id=sender.model_id,
        kind=entry.refresh,
        hard=entry.mode is Mode.HARD,
        branch_id=sender.branch_id,
        schemas=entry.schemas,
        tables=entry.tables,
    )
    served = (sender, *covered)
    return Refresh(
        sender=sender,
        covered=covered,
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
    entry = target.entry
    if entry.mode is Mode.HARD:
        return 0
    return 2 if entry.schemas or entry.tables else 1


def _serves(sender: Target, other: Target) -> bool:
    width = _width(sender)
    if width == 0:
        return True
    if width == 1:
        return other.entry.mode is Mode.SOFT
    return _scope(sender) == _scope(other)


def _scope(target: Target) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(target.entry.schemas), frozenset(target.entry.tables)
