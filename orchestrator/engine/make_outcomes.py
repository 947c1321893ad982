"""Makes outcomes: from the state of a refresh and how it ended, to one outcome for each target that it served. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from statistics import median
from typing import Any, Final

from orchestrator.clock import Clock
from orchestrator.engine.failure import CLOSED_WORDS, JOB_LEFT, RunKind, make_failure
from orchestrator.engine.outcome import CallMade, Failure, Outcome, Status
from orchestrator.engine.refresh_state import Phase, RefreshResult, RefreshState
from orchestrator.engine.restore import EarlierResults
from orchestrator.manifest.manifest import Entry
from orchestrator.omni.errors import CallErrorKind
from orchestrator.planning.make_plan import coverage_warnings
from orchestrator.planning.plan import Skip, Target, Unresolved
from orchestrator.quota.rate_limiter import StopReason


def settle(
    state: RefreshState,
    result: RefreshResult,
    *,
    began_at: float,
    clock: Clock,
    warnings: Mapping[int, tuple[str, ...]],
) -> tuple[tuple[Target, Outcome], ...]:
    """Return each target that a refresh served, with its outcome.

    If the refresh is known to have started nothing, only the sender gets one, and the next target sends its own refresh.
    """
    refresh, status = state.refresh, result.status
    nothing_started = status.was_not_sent or (status.started_nothing and not state.job_ids)
    served = (refresh.sender,) if nothing_started else refresh.served
    ended_at = state.ended_at if state.ended_at is not None else clock.now()
    queued_s = state.queued_s
    if queued_s is None and state.left_at is not None:
        queued_s = max(0.0, state.left_at - began_at)
    outcomes = []
    for target in served:
        is_sender = target is refresh.sender
        notes = [*warnings.get(target.entry.index, ()), *state.warnings]
        if not is_sender:
            notes += coverage_warnings(refresh.sender.entry.mode, target.entry)
        outcome = replace(
            _outcome(target.entry, target, status),
            covered_by=None if is_sender else refresh.sender.entry.name,
            job_ids=(*state.earlier_jobs, *state.job_ids),
            job_status=state.last_word,
            submitted_at=state.submitted_at,
            finished_at=clock.stamp(ended_at) if state.left_at is not None else None,
            duration_s=max(0.0, ended_at - state.left_at) if state.left_at is not None else None,
            queued_s=queued_s,
            attempts=state.attempts if is_sender else 0,
            polls=state.polls if is_sender else 0,
            throttled=state.throttled if is_sender else 0,
            warnings=tuple(dict.fromkeys(notes)),
            promotion_pending=status is Status.SUCCEEDED and target.branch_id is not None,
            error=result.failure,
            calls=state.log.calls if is_sender else (),
        )
        outcomes.append((target, outcome))
    return tuple(outcomes)


def cut_off(state: RefreshState, reason: StopReason) -> RefreshResult:
    """Return how a refresh ended that the run no longer waits for, for this reason, by how far it had come."""
    kind, words = CLOSED_WORDS[reason]
    if state.phase is Phase.SENDING or (state.ambiguous and not state.job_ids):
        failure = make_failure(CallErrorKind.CUT_OFF, f"{words} during the refresh call")
        return RefreshResult(status=Status.UNKNOWN, failure=failure, may_run=True)
    if state.job_ids:
        failure = make_failure(kind, f"{words} before the job ended", last_status=state.last_word, hint=JOB_LEFT)
        return RefreshResult(status=Status.INTERRUPTED, failure=failure, may_run=True, open_job=state.job_ids[-1])
    return RefreshResult(status=Status.NOT_STARTED, failure=make_failure(kind, words))


def not_sent(target: Target, failure: Failure, status: Status, warnings: tuple[str, ...] = ()) -> Outcome:
    """Return the outcome of a target for which nothing was sent."""
    return replace(_outcome(target.entry, target, status), warnings=warnings, error=failure)


def unplanned(entry: Entry, failure: Failure, status: Status, warnings: tuple[str, ...] = ()) -> Outcome:
    """Return the outcome of an entry whose instance closed before it could be planned."""
    return replace(_outcome(entry, None, status), warnings=warnings, error=failure)


def skipped(skip: Skip) -> Outcome:
    """Return the outcome of an entry that is deliberately not refreshed; its warning is the reason."""
    return replace(_outcome(skip.entry, None, Status.SKIPPED), warnings=(skip.reason,))


def unresolved(entry: Unresolved, warnings: tuple[str, ...] = ()) -> Outcome:
    """Return the outcome of an entry that does not resolve to exactly one model and branch."""
    failure = make_failure(RunKind.UNRESOLVED, entry.message, hint=entry.hint)
    return replace(_outcome(entry.entry, None, Status.REJECTED), warnings=warnings, error=failure)


_OWN_WORDS: Final = {
    Outcome: {"name", "instance", "branch", "covered_by", "schemas", "tables", "tags"},
    Failure: {"kind"},
    CallMade: {"end"},
}
"""The texts that are the manifest's or the program's own: they hold no secret, and a short secret must not change them."""


def redacted(outcome: Outcome, redact: Callable[[str], str]) -> Outcome:
    """Return the outcome without secrets in what a server or a library said."""

    def walk(value: Any) -> Any:
        if isinstance(value, str) and not isinstance(value, Enum):
            return redact(value)
        if isinstance(value, tuple):
            return tuple(map(walk, value))
        if is_dataclass(value) and not isinstance(value, type):
            own = _OWN_WORDS.get(type(value), ())
            return replace(value, **{f.name: walk(getattr(value, f.name)) for f in fields(value) if f.name not in own})
        return value

    done: Outcome = walk(outcome)
    return done


def compared(outcome: Outcome, past: EarlierResults, durations: Sequence[float]) -> Outcome:
    """Return the outcome with what earlier runs say: the target's results, and its model's durations (seconds).

    A target that another target's refresh covered has no usual duration: its own model's durations do not apply.
    """
    since = None if outcome.status.is_good else past.failing_since.get(outcome.name, past.began_at)
    durations = durations if outcome.covered_by is None else ()
    return replace(
        outcome,
        previous_status=past.statuses.get(outcome.name),
        failing_since=since,
        usual_s=median(durations) if durations else None,
        usual_runs=len(durations),
        recent=past.recent.get(outcome.name, ()),
    )


def _outcome(entry: Entry, target: Target | None, status: Status) -> Outcome:
    return Outcome(
        name=entry.name,
        instance=entry.instance,
        model_id=target.model_id if target is not None else entry.model_id,
        branch=entry.branch,
        branch_id=target.branch_id if target is not None else None,
        connection=target.connection if target is not None else entry.connection,
        refresh=entry.refresh,
        mode=entry.mode,
        schemas=entry.schemas,
        tables=entry.tables,
        tags=entry.tags,
        status=status,
    )
