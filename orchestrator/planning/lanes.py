"""Which refresh comes next in a lane, and which targets it serves (docs/reference/lanes-and-collapsing.md). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from orchestrator.manifest.manifest import Mode
from orchestrator.omni.answers import RefreshRequest
from orchestrator.planning.plan import Refresh, Target
from orchestrator.planning.scope import URL_LIMIT, split_ask

Length = Callable[[str, RefreshRequest], int]
"""How many bytes a call's request target has on an instance (its name, the call)."""


def next_refresh(pending: Sequence[Target], *, collapse: bool, length: Length, limit: int = URL_LIMIT) -> Refresh:
    """The refresh that goes next among a lane's `pending` targets (not empty, in manifest order).

    The first target's group goes first: targets of the same branch. In it the widest refresh is sent: a hard one serves
    the whole group, a soft one without scope serves the soft ones, and equal scopes share one; ties go to the first.
    """
    first = pending[0]
    group = [t for t in pending if t.branch_id == first.branch_id] if collapse else [first]
    sender = min(group, key=lambda t: (_width(t), t.entry.index))
    return _refresh(sender, tuple(t for t in group if t is not sender and _serves(sender, t)), length, limit)


def refreshes(pending: Sequence[Target], *, collapse: bool, length: Length) -> Iterator[Refresh]:
    """All refreshes of a lane in their order, as they go if each of them starts something: what `next_refresh` gives
    again and again, in one pass.
    """
    if not collapse:
        yield from (_refresh(target, (), length) for target in pending)
        return
    narrowest = 2
    widest: dict[str | None, int] = {}
    for target in pending:
        widest[target.branch_id] = min(widest.get(target.branch_id, narrowest), _width(target))
    # one refresh for all of a branch where any is wide enough for that, else one for each scope; in the order of the first
    shares: dict[tuple[object, object], list[Target]] = {}
    for target in pending:
        scope = _scope(target) if widest[target.branch_id] == narrowest else None
        shares.setdefault((target.branch_id, scope), []).append(target)
    for share in shares.values():
        sender = min(share, key=lambda t: (_width(t), t.entry.index))
        yield _refresh(sender, tuple(t for t in share if t is not sender), length)


def _refresh(sender: Target, covered: tuple[Target, ...], length: Length, limit: int = URL_LIMIT) -> Refresh:
    entry = sender.entry
    ask = RefreshRequest(
        model_id=sender.model_id,
        hard=entry.mode is Mode.HARD,
        branch_id=sender.branch_id,
        schemas=entry.schemas,
        tables=entry.tables,
    )
    served = (sender, *covered)
    return Refresh(
        sender=sender,
        covered=covered,
        asks=split_ask(ask, lambda a: length(entry.instance, a), limit),
        timeout_s=max(t.entry.timeout_s for t in served),
        wait=any(t.entry.wait for t in served),
    )


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
