"""What is known before a run starts: earlier results, and what the journal says of the run that it continues. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.engine.failure import RunKind
from orchestrator.engine.outcome import Outcome, Status, parse_row
from orchestrator.journal.records import CallStatus, NewTarget, RestrictedEntry, RootRecord, StoredCall, StoredTarget
from orchestrator.manifest.manifest import Entry, Mode
from orchestrator.omni.answers import RefreshRequest
from orchestrator.planning.plan import Refresh, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRefresh:
    """A refresh that another run had begun and not settled. `part`, `fate`, `job_id` and `age_s` (since it was accepted,
    or left) are those of its last call; `job_ids` all of its jobs; `submitted_at` and `queued_s` its first call's.

    `again` gives its job the whole timeout anew, and refreshes its targets anew if that job turns out not to have succeeded.
    `call` is the last call's number in the journal.
    """

    call: int
    refresh: Refresh
    part: int
    fate: CallStatus
    job_id: str | None
    word: str | None
    age_s: float
    job_ids: tuple[str, ...]
    attempts: int
    submitted_at: datetime
    queued_s: float
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorState:
    """By an entry's index: `outcomes` that stay as they are, `targets` that need no look-up and their `warnings`; and the
    refreshes `active_refreshes`, whose targets have no outcome yet.
    """

    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    targets: Mapping[int, Target] = field(default_factory=dict)
    warnings: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    active_refreshes: tuple[ActiveRefresh, ...] = ()


NOTHING = PriorState()


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierResults:
    """What a run's targets, by name, were in the manifest's runs before: their last `statuses`, and for those that have not
    succeeded since then when the first run of that row began. `began_at` is when this run's row would begin.
    """

    statuses: Mapping[str, Status] = field(default_factory=dict)
    failing_since: Mapping[str, datetime] = field(default_factory=dict)
    began_at: datetime | None = None


NO_PAST = EarlierResults()


_CUT_OFF = frozenset({RunKind.STOPPED.value, RunKind.DEADLINE.value})
_NOTHING_STARTED = frozenset({Status.NOT_STARTED, Status.THROTTLED, Status.REJECTED, Status.ERROR})
_END_NOT_SEEN = frozenset({Status.TIMED_OUT, Status.INTERRUPTED, Status.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a run goes on from. `calls` are the journal's numbers of the calls under way, by sender and part."""

    before: PriorState
    calls: Mapping[tuple[int, int], int]


def is_open(outcome: Outcome | None) -> bool:
    """Whether a resumed run goes on with a target: it has no outcome, or a signal or the deadline came before its end.

    What did not come about for another reason (failures, refused keys, a closed lane) is for `retry`.
    """
    if outcome is None:
        return True
    if outcome.status not in (Status.INTERRUPTED, Status.NOT_STARTED) or outcome.error is None:
        return False
    return outcome.error.kind in _CUT_OFF


def wanted_by_retry(root: str, chain: Sequence[RootRecord]) -> frozenset[int]:
    """The places of a run's targets that are not good by the newest result that its chain of retries holds."""
    mine = next(record for record in chain if record.root == root)
    results = {row.place: _newest_result(chain, row.place) for row in mine.targets}
    return frozenset(place for place, result in results.items() if result is None or not result.status.is_good)


def restore_for_resume(entries: Mapping[int, Entry], root: str, chain: Sequence[RootRecord]) -> Restored:
    """What `resume` goes on from: outcomes that stand are kept, what was under way is gone on with, the rest is open."""
    rows = next(record.targets for record in chain if record.root == root)
    outcomes = {row.place: parse_row(row.outcome) for row in rows if row.outcome is not None}
    kept = {place: outcome for place, outcome in outcomes.items() if not is_open(outcome)}
    return _recall(entries, rows, chain, kept, own=root)


def restore_for_retry(
    entries: Mapping[int, Entry], root: str, chain: Sequence[RootRecord], wanted: frozenset[int]
) -> Restored:
    """What `retry` goes on from: no outcome is kept, and a job of `wanted` targets that may still run is checked first."""
    rows = next(record.targets for record in chain if record.root == root)
    return _recall(entries, [row for row in rows if row.place in wanted], chain, {}, own=None)


def new_targets(entries: Iterable[Entry], before: PriorState) -> tuple[NewTarget, ...]:
    """A run's targets as they are stored when it begins, with what is known of them already."""

    def one(entry: Entry) -> NewTarget:
        target, warnings = before.targets.get(entry.index), before.warnings.get(entry.index, ())
        if target is None:
            return NewTarget(place=entry.index, name=entry.name)
        return NewTarget(
            place=entry.index,
            name=entry.name,
            model_id=target.model_id,
            branch_id=target.branch_id,
            connection=target.connection,
            lane=target.lane,
            warnings=warnings,
            narrowed=RestrictedEntry.of(target.entry) if target.entry != entry else None,
        )

    return tuple(map(one, entries))


def _newest_result(chain: Sequence[RootRecord], place: int, *, since: str | None = None) -> Outcome | None:
    """The newest outcome of a target that a refresh gave it, from the plan `since` on; else the newest there is.

    A target that a later retry never sent is what it was before that retry.
    """
    newest = None
    for record in reversed(chain):
        row = next((row for row in record.targets if row.place == place), None)
        if row is not None and row.outcome is not None:
            outcome = parse_row(row.outcome)
            if outcome.status not in _NOTHING_STARTED:
                return outcome
            newest = newest or outcome
        if record.root == since:
            break
    return newest


def _last_refresh(chain: Sequence[RootRecord], place: int) -> list[StoredCall]:
    """The calls of the newest refresh that may have started something for a target; empty if there is none."""
    last: list[StoredCall] = []
    mine: list[StoredCall] = []
    for call in sorted((c for record in chain for c in record.calls if place in c.served), key=lambda c: c.id):
        if mine:
            before = mine[-1]
            another = (before.root, before.sender) != (call.root, call.sender)
            if another or (
                call.part == 0 and (before.part or before.fate not in (CallStatus.REFUSED, CallStatus.INTENDED))
            ):
                mine = []
        mine.append(call)
        if any(one.fate is not CallStatus.REFUSED for one in mine):
            last = mine
    return last


def _recall(
    entries: Mapping[int, Entry],
    rows: Sequence[StoredTarget],
    chain: Sequence[RootRecord],
    kept: Mapping[int, Outcome],
    *,
    own: str | None,
) -> Restored:
    """`own` is the plan that is resumed: its calls are gone on with as they are; those of other plans are checked first and
    their targets are refreshed anew if they did not succeed.
    """
    rows = [_resolved(row, chain) for row in rows]
    targets = {
        row.place: Target(
            entry=entries[row.place] if row.narrowed is None else row.narrowed.applied_to(entries[row.place]),
            model_id=row.model_id,
            branch_id=row.branch_id,
            connection=row.connection,
            lane=row.lane,
        )
        for row in rows
        if row.lane is not None and row.model_id is not None and row.place in entries and row.place not in kept
    }
    begun: dict[int, tuple[list[StoredCall], list[int]]] = {}
    for place in targets:
        calls = _last_refresh(chain, place)
        if calls and (calls[-1].root == own or _decides(calls[-1], chain, place)):
            begun.setdefault(calls[-1].id, (calls, []))[1].append(place)
    active_refreshes, numbers = [], {}
    for calls, places in begun.values():
        served = [targets[place] for place in calls[-1].served if place in places]
        one = _underway(served, calls, again=calls[-1].root != own)
        if one is not None:
            active_refreshes.append(one)
            numbers[one.refresh.sender.entry.index, one.part] = one.call
    warnings = {row.place: row.warnings for row in rows}
    before = PriorState(outcomes=kept, targets=targets, warnings=warnings, active_refreshes=tuple(active_refreshes))
    return Restored(before=before, calls=numbers)


def _resolved(row: StoredTarget, chain: Sequence[RootRecord]) -> StoredTarget:
    """The target as another plan of the chain resolved it, if its own run ended before it did."""
    if row.lane is not None:
        return row
    others = (other for record in reversed(chain) for other in record.targets)
    found = next((other for other in others if other.place == row.place and other.lane is not None), row)
    return replace(found, outcome=row.outcome)


def _decides(last: StoredCall, chain: Sequence[RootRecord], place: int) -> bool:
    """Whether a call of another plan decides what becomes of a target: its job ended well or may still do so, and the
    newest outcome of the target does not say more.
    """
    if last.fate is not CallStatus.SUCCEEDED and last.fate is not CallStatus.ACCEPTED:
        return False
    result = _newest_result(chain, place, since=last.root)
    if result is None or result.status in _NOTHING_STARTED:
        return True
    return result.status in _END_NOT_SEEN and (last.fate is CallStatus.SUCCEEDED or last.job_id is not None)


def _underway(served: Sequence[Target], calls: Sequence[StoredCall], *, again: bool) -> ActiveRefresh | None:
    last = calls[-1]
    # a call that was answered 429 was no attempt: the next one has its number again
    first = next(
        c for c, then in zip(calls, (*calls[1:], None), strict=True) if then is None or then.attempt > c.attempt
    )
    if last.fate in (CallStatus.REFUSED, CallStatus.LOST) and not last.part:
        # it started nothing, or its job is out of sight: it is sent anew if it is wanted at all
        return None
    part, fate = last.part, last.fate
    if fate is CallStatus.REFUSED:
        # the part before it was the last that was accepted
        part, fate = part - 1, CallStatus.SUCCEEDED
    # if the target that sent it is not among those that are gone on with, one that it covered stands for it
    sender, *covered = served
    entry = sender.entry
    return ActiveRefresh(
        call=last.id,
        refresh=Refresh(
            sender=sender,
            covered=tuple(covered),
            asks=tuple(
                RefreshRequest(
                    model_id=sender.model_id,
                    hard=entry.mode is Mode.HARD,
                    branch_id=sender.branch_id,
                    schemas=schemas,
                    tables=tables,
                )
                for schemas, tables in last.scopes
            ),
            timeout_s=last.timeout_s,
            wait=last.wait,
        ),
        part=part,
        fate=fate,
        job_id=last.job_id,
        word=last.word,
        age_s=last.age_s,
        job_ids=tuple(call.job_id for call in calls if call.job_id is not None),
        attempts=last.attempt,
        submitted_at=first.left_at,
        queued_s=first.queued_s,
        again=again,
    )
