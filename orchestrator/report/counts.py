"""The numbers of a report: how many outcomes of each status, and what changed against the run before."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engine.outcome import Outcome, Status
from orchestrator.report.report import Report


def count_statuses(outcomes: Sequence[Outcome]) -> dict[Status, int]:
    """How many outcomes have each status; every status is there, worst first, zeros included."""
    counts = dict.fromkeys(Status, 0)
    for outcome in outcomes:
        counts[outcome.status] += 1
    return counts


def bad_outcomes(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """The outcomes that somebody must look at, worst first; within a status in the report's order."""
    order = {status: rank for rank, status in enumerate(Status)}
    return tuple(sorted((o for o in outcomes if not o.status.is_good), key=lambda o: order[o.status]))


def issue_outcomes(report: Report) -> tuple[Outcome, ...]:
    """The good outcomes whose new validation issues make the exit code 1 (`--fail-on-new-issues`), in the report's order."""
    if not report.run.new_issues_fail:
        return ()
    return tuple(o for o in report.outcomes if o.status.is_good and o.validation is not None and o.validation.new)


def has_run_before(outcomes: Sequence[Outcome]) -> bool:
    """Whether any target is known from an earlier run, so that there is something to compare with."""
    return any(outcome.previous_status is not None for outcome in outcomes)


def is_new_failure(outcome: Outcome) -> bool:
    """Whether the target was good in the run before, or not in it, and is not good now."""
    return not outcome.status.is_good and (outcome.previous_status is None or outcome.previous_status.is_good)


def is_recovered(outcome: Outcome) -> bool:
    """Whether the target was not good in the run before and has been refreshed now."""
    was_bad = outcome.previous_status is not None and not outcome.previous_status.is_good
    return was_bad and outcome.status in (Status.SUCCEEDED, Status.ACCEPTED)
