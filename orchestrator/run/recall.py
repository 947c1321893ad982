"""From the journal's rows to what a run must know before it begins: what stays, what goes on, what is sent again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.journal.stored import Fate, Narrowed, NewTarget, StoredCall, StoredTarget
from orchestrator.manifest.manifest import Entry, Mode
from orchestrator.omni.answers import RefreshAsk
from orchestrator.plan.plan import Refresh, Target
from orchestrator.run.before import Before, Underway
from orchestrator.run.failure import RunKind
from orchestrator.run.outcome import Outcome, Status

_CUT_OFF = frozenset({RunKind.STOPPED.value, RunKind.DEADLINE.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What a run goes on from. `calls` are the journal's numbers of the calls under way, by sender and part."""

    before: Before
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


def recall_for_resume(
    entries: Mapping[int, Entry],
    targets: Iterable[StoredTarget],
    calls: Sequence[StoredCall],
    parse: Callable[[Mapping[str, Any]], Outcome],
) -> Recalled:
    """What `resume` goes on from: outcomes that stand are kept, what was under way is gone on with, the rest is open."""
    rows = tuple(targets)
    outcomes = {row.place: parse(row.outcome) for row in rows if row.outcome is not None}
    kept = {place: outcome for place, outcome in outcomes.items() if not is_open(outcome)}
    return _recall(entries, rows, _last_calls(calls), kept, again=False)


def recall_for_retry(
    entries: Mapping[int, Entry], targets: Iterable[StoredTarget], calls: Sequence[StoredCall], wanted: frozenset[int]
) -> Recalled:
    """What `retry` goes on from: nothing is kept; a job of `wanted` targets that may still run is asked after first."""
    open_jobs = {
        sender: mine
        for sender, mine in _last_calls(calls).items()
        if mine[-1].fate is Fate.ACCEPTED and mine[-1].job_id is not None
    }
    rows = tuple(row for row in targets if row.place in wanted)
    return _recall(entries, rows, open_jobs, {}, again=True)


def new_targets(entries: Iterable[Entry], before: Before) -> tuple[NewTarget, ...]:
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
            narrowed=Narrowed.of(target.entry) if target.entry != entry else None,
        )

    return tuple(map(one, entries))


def _last_calls(calls: Sequence[StoredCall]) -> dict[int, list[StoredCall]]:
    """Each sender's calls of its last refresh, up to the one that is under way or done; none that started nothing."""
    by_sender: dict[int, list[StoredCall]] = {}
    for call in calls:
        mine = by_sender.setdefault(call.sender, [])
        if mine and call.part == 0 and (mine[-1].part or mine[-1].fate not in (Fate.REFUSED, Fate.INTENDED)):
            mine.clear()
        mine.append(call)
    return {s: mine for s, mine in by_sender.items() if any(c.fate is not Fate.REFUSED for c in mine)}


def _recall(
    entries: Mapping[int, Entry],
    rows: Sequence[StoredTarget],
    calls: Mapping[int, list[StoredCall]],
    kept: Mapping[int, Outcome],
    *,
    again: bool,
) -> Recalled:
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
    underway, numbers = [], {}
    for sender, mine in calls.items():
        if sender in targets and (begun := _underway(targets, mine, again=again)) is not None:
            underway.append(begun)
            numbers[sender, begun.part] = mine[-1].id
    warnings = {row.place: row.warnings for row in rows}
    before = Before(outcomes=kept, targets=targets, warnings=warnings, underway=tuple(underway))
    return Recalled(before=before, calls=numbers)


def _underway(targets: Mapping[int, Target], calls: Sequence[StoredCall], *, again: bool) -> Underway | None:
    last = calls[-1]
    # a call that was answered 429 was no attempt: the next one has its number again
    first = next(
        c for c, then in zip(calls, (*calls[1:], None), strict=True) if then is None or then.attempt > c.attempt
    )
    if last.fate in (Fate.REFUSED, Fate.LOST) and not last.part:
        # it started nothing, or nobody will ever know more: it is sent anew where that is wanted at all
        return None
    sender = targets[last.sender]
    part, fate = last.part, last.fate
    if fate is Fate.REFUSED:
        # the part before it was the last that was accepted
        part, fate = part - 1, Fate.SUCCEEDED
    entry = sender.entry
    return Underway(
        refresh=Refresh(
            sender=sender,
            covered=tuple(targets[place] for place in last.served[1:] if place in targets),
            asks=tuple(
                RefreshAsk(
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
