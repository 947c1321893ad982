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
    """A refresh that another run began and did not settle.

    `call` (its number in the journal), `part`, `status`, `job_id`, `word` and `age_s` (since it was accepted, or left) are
    those of its last call, `submitted_at` and `queued_s` of its first one. `job_ids` are all of its jobs. With `again` its
    job gets the whole timeout anew, and its targets are refreshed anew if the job did not succeed.
    """

    call: int
    refresh: Refresh
    part: int
    status: CallStatus
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
    """What is known of a run's targets before it starts, by an entry's index.

    `outcomes` stay as they are; `targets` need no look-up and have `warnings`. The targets of `active_refreshes` have no
    outcome yet.
    """

    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    targets: Mapping[int, Target] = field(default_factory=dict)
    warnings: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    active_refreshes: tuple[ActiveRefresh, ...] = ()


NOTHING = PriorState()


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierResults:
    """What the manifest's earlier runs say about the targets, by name.

    `statuses` are the last ones. `failing_since` is the start of the first run in the current streak of failures; `began_at`
    is the start of a streak that begins in this run. `recent` are the last results, oldest first.
    """

    statuses: Mapping[str, Status] = field(default_factory=dict)
    failing_since: Mapping[str, datetime] = field(default_factory=dict)
    began_at: datetime | None = None
    recent: Mapping[str, tuple[Status, ...]] = field(default_factory=dict)

    def joined(self, other: EarlierResults) -> EarlierResults:
        """Return the results of both, which are of different targets."""
        return replace(
            self,
            statuses={**self.statuses, **other.statuses},
            failing_since={**self.failing_since, **other.failing_since},
            recent={**self.recent, **other.recent},
        )


NO_PAST = EarlierResults()


_CUT_OFF = frozenset({RunKind.STOPPED.value, RunKind.DEADLINE.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a run continues from. `calls` are the journal's numbers of the active calls, by sender and part."""

    prior: PriorState
    calls: Mapping[tuple[int, int], int]


def is_open(outcome: Outcome | None) -> bool:
    """Return whether `resume` continues a target: it has no outcome, or a signal or the deadline came before its end.

    What failed for another reason (failures, refused keys, a closed lane) is for `retry`.
    """
    if outcome is None:
        return True
    if outcome.status not in (Status.INTERRUPTED, Status.NOT_STARTED) or outcome.error is None:
        return False
    return outcome.error.kind in _CUT_OFF


def wanted_by_retry(root: str, chain: Sequence[RootRecord]) -> frozenset[int]:
    """Return the indexes of a run's targets whose newest result in its chain of retries is not good."""
    mine = next(record for record in chain if record.root == root)
    results = {row.position: _newest_result(chain, row.position) for row in mine.targets}
    return frozenset(index for index, result in results.items() if result is None or not result.status.is_good)


def restore_for_resume(entries: Mapping[int, Entry], root: str, chain: Sequence[RootRecord]) -> Restored:
    """Return what `resume` continues from: outcomes that stand are kept, active refreshes are continued, the rest is open."""
    rows = next(record.targets for record in chain if record.root == root)
    outcomes = {row.position: parse_row(row.outcome) for row in rows if row.outcome is not None}
    kept = {index: outcome for index, outcome in outcomes.items() if not is_open(outcome)}
    return _restore(entries, rows, chain, kept, own=root)


def restore_for_retry(
    entries: Mapping[int, Entry], root: str, chain: Sequence[RootRecord], wanted: frozenset[int]
) -> Restored:
    """Return what `retry` continues from: no outcome is kept, and jobs of `wanted` targets that may still run are checked
    first.
    """
    rows = next(record.targets for record in chain if record.root == root)
    return _restore(entries, [row for row in rows if row.position in wanted], chain, {}, own=None)


def new_targets(entries: Iterable[Entry], prior: PriorState) -> tuple[NewTarget, ...]:
    """Return a run's targets as they are stored when it starts, with what is known of them already."""

    def one(entry: Entry) -> NewTarget:
        target, warnings = prior.targets.get(entry.index), prior.warnings.get(entry.index, ())
        if target is None:
            return NewTarget(position=entry.index, name=entry.name)
        return NewTarget(
            position=entry.index,
            name=entry.name,
            model_id=target.model_id,
            branch_id=target.branch_id,
            connection=target.connection,
            lane=target.lane,
            warnings=warnings,
            restricted=RestrictedEntry.of(target.entry) if target.entry != entry else None,
        )

    return tuple(map(one, entries))


def _newest_result(chain: Sequence[RootRecord], index: int, *, since: str | None = None) -> Outcome | None:
    """Return the newest outcome that a refresh gave a target, from the plan `since` on; else the newest that there is.

    A target that a later retry never sent has the result that it had before that retry.
    """
    newest = None
    for record in reversed(chain):
        row = next((row for row in record.targets if row.position == index), None)
        if row is not None and row.outcome is not None:
            outcome = parse_row(row.outcome)
            if not outcome.status.started_nothing:
                return outcome
            newest = newest or outcome
        if record.root == since:
            break
    return newest


def _last_refresh(chain: Sequence[RootRecord], index: int) -> list[StoredCall]:
    """Return the calls of the newest refresh that may have started something for a target; empty if there is none."""
    last: list[StoredCall] = []
    mine: list[StoredCall] = []
    for call in sorted((c for record in chain for c in record.calls if index in c.served), key=lambda c: c.id):
        if mine:
            previous = mine[-1]
            another = (previous.root, previous.sender) != (call.root, call.sender)
            if another or (
                call.part == 0 and (previous.part or previous.fate not in (CallStatus.REFUSED, CallStatus.INTENDED))
            ):
                mine = []
        mine.append(call)
        if any(one.fate is not CallStatus.REFUSED for one in mine):
            last = mine
    return last


def _restore(
    entries: Mapping[int, Entry],
    rows: Sequence[StoredTarget],
    chain: Sequence[RootRecord],
    kept: Mapping[int, Outcome],
    *,
    own: str | None,
) -> Restored:
    """Restore targets and active refreshes. `own` is the plan that is resumed, whose calls are continued as they are.

    The jobs of other plans are checked first, and their targets are refreshed anew if the jobs did not succeed.
    """
    rows = [_resolved(row, chain) for row in rows]
    targets = {
        row.position: Target(
            entry=entries[row.position] if row.restricted is None else row.restricted.applied_to(entries[row.position]),
            model_id=row.model_id,
            branch_id=row.branch_id,
            connection=row.connection,
            lane=row.lane,
        )
        for row in rows
        if row.lane is not None and row.model_id is not None and row.position in entries and row.position not in kept
    }
    active: dict[int, tuple[list[StoredCall], list[int]]] = {}
    for index in targets:
        calls = _last_refresh(chain, index)
        if calls and (calls[-1].root == own or _decides(calls[-1], chain, index)):
            active.setdefault(calls[-1].id, (calls, []))[1].append(index)
    active_refreshes, numbers = [], {}
    for calls, indexes in active.values():
        served = [targets[index] for index in calls[-1].served if index in indexes]
        one = _active_refresh(served, calls, again=calls[-1].root != own)
        if one is not None:
            active_refreshes.append(one)
            numbers[one.refresh.sender.entry.index, one.part] = one.call
    warnings = {row.position: row.warnings for row in rows}
    prior = PriorState(outcomes=kept, targets=targets, warnings=warnings, active_refreshes=tuple(active_refreshes))
    return Restored(prior=prior, calls=numbers)


def _resolved(row: StoredTarget, chain: Sequence[RootRecord]) -> StoredTarget:
    """Return the target as another plan of the chain resolved it, if its own run ended before it did."""
    if row.lane is not None:
        return row
    others = (other for record in reversed(chain) for other in record.targets)
    found = next((other for other in others if other.position == row.position and other.lane is not None), row)
    return replace(found, outcome=row.outcome)


def _decides(last: StoredCall, chain: Sequence[RootRecord], index: int) -> bool:
    """Return whether a call of another plan decides the result of a target: its job succeeded or may still do so, and the
    target's newest outcome does not say more.
    """
    if last.fate is not CallStatus.SUCCEEDED and last.fate is not CallStatus.ACCEPTED:
        return False
    result = _newest_result(chain, index, since=last.root)
    if result is None or result.status.started_nothing:
        return True
    return result.status.end_unknown and (last.fate is CallStatus.SUCCEEDED or last.job_id is not None)


def _active_refresh(served: Sequence[Target], calls: Sequence[StoredCall], *, again: bool) -> ActiveRefresh | None:
    last = calls[-1]
    # a call that was answered 429 was no attempt: the next one has the same number
    first = next(
        c for c, then in zip(calls, (*calls[1:], None), strict=True) if then is None or then.attempt > c.attempt
    )
    if last.fate in (CallStatus.REFUSED, CallStatus.LOST) and not last.part:
        # it started nothing, or its job is lost: it is sent anew if it is wanted at all
        return None
    part, status = last.part, last.fate
    if status is CallStatus.REFUSED:
        # the part before it was the last that was accepted
        part, status = part - 1, CallStatus.SUCCEEDED
    # if the target that sent it is not continued, one that it covered replaces it
    sender, *covered = served
    entry = sender.entry
    return ActiveRefresh(
        call=last.id,
        refresh=Refresh(
            sender=sender,
            covered=tuple(covered),
            requests=tuple(
                RefreshRequest(
                    model_id=sender.model_id,
                    kind=entry.refresh,
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
        status=status,
        job_id=last.job_id,
        word=last.word,
        age_s=last.age_s,
        job_ids=tuple(call.job_id for call in calls if call.job_id is not None),
        attempts=last.attempt,
        submitted_at=first.left_at,
        queued_s=first.queued_s,
        again=again,
    )
