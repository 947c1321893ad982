"""What a report shows besides its targets: counts, changes since the previous run, the headline, the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import filterfalse
from typing import Final

from orchestrator.engine.outcome import Outcome, Status
from orchestrator.report.issues import brought
from orchestrator.report.report import Report
from orchestrator.text import counted, plural


def count_statuses(outcomes: Sequence[Outcome]) -> dict[Status, int]:
    """Return how many outcomes have each status, worst first, including zeros."""
    counts = Counter(outcome.status for outcome in outcomes)
    return {status: counts[status] for status in Status}


def worst_first(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Return the outcomes, worst status first; within a status in the report's order."""
    rank = list(Status).index
    return tuple(sorted(outcomes, key=lambda outcome: rank(outcome.status)))


def bad_outcomes(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Return the outcomes that are not good, worst first."""
    return worst_first(outcome for outcome in outcomes if not outcome.status.is_good)


def issue_outcomes(report: Report) -> tuple[Outcome, ...]:
    """Return the good outcomes whose new issues make the exit code 1 (`--fail-on-new-issues`)."""
    if not report.run.new_issues_fail:
        return ()
    return tuple(o for o in report.outcomes if o.status.is_good and o.has_new_errors)


def has_run_before(outcomes: Sequence[Outcome]) -> bool:
    """Return whether any target is known from an earlier run."""
    return any(outcome.previous_status is not None for outcome in outcomes)


def is_new_failure(outcome: Outcome) -> bool:
    """Return whether the target is not good now and was good in the previous run, or not in it."""
    return not outcome.status.is_good and (outcome.previous_status is None or outcome.previous_status.is_good)


def is_recovered(outcome: Outcome) -> bool:
    """Return whether the target was not good in the previous run and is refreshed now."""
    was_bad = outcome.previous_status is not None and not outcome.previous_status.is_good
    return was_bad and outcome.status.was_refreshed


SIMULATED: Final = "SIMULATED"
"""The word that marks all output of a simulated run."""

SIMULATED_NOTE: Final = f"{SIMULATED}: a rehearsal against the simulator; nothing was sent to a real instance"
"""The sentence that explains it."""


def headline(report: Report) -> str:
    """Return the result as a phrase that begins in lower case, for example `2 of 3 targets did not succeed`."""
    total = len(report.outcomes)
    targets = plural("target", total)
    counts = count_statuses(report.outcomes)
    bad = len(bad_outcomes(report.outcomes))
    if not total:
        return "nothing to do: nothing was selected"
    issues = issue_outcomes(report)
    if bad:
        also = f", {len(issues):,} {brought(issues)}" if issues else ""
        return f"{bad:,} of {total:,} {targets} did not succeed{also}"
    if issues:
        return f"{len(issues):,} of {total:,} {targets} {brought(issues)}"
    if counts[Status.SKIPPED] == total:
        return "nothing to do: " + ("the target was skipped" if total == 1 else f"all {total:,} targets were skipped")
    return _good(counts[Status.SUCCEEDED], counts[Status.ACCEPTED], counts[Status.SKIPPED])


def _good(refreshed: int, accepted: int, skipped: int) -> str:
    """Return the result of a run in which every target is good."""
    if not accepted and not skipped:
        return "1 model refreshed" if refreshed == 1 else f"all {refreshed:,} models refreshed"
    told = [f"{counted(refreshed, 'model')} refreshed"] if refreshed else []
    if accepted:
        told.append(f"{counted(accepted, 'refresh', 'es')} accepted and not followed")
    return ", ".join(told + ([f"{skipped:,} skipped"] if skipped else []))


def is_bad(report: Report) -> bool:
    """Return whether a target did not succeed, or brought issues that count."""
    return bool(bad_outcomes(report.outcomes) or issue_outcomes(report))


def capitalized(phrase: str) -> str:
    """Return the phrase with a capital letter."""
    return phrase[:1].upper() + phrase[1:]


SLOW_AFTER_RUNS: Final = 3
SLOW_FACTOR: Final = 2.0
SLOW_BY_S: Final = 5.0
"""A run may see an end this much later than it happened, so a shorter delay means nothing."""

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """Targets by what changed, worst first. Those that still fail: the longest failing first."""

    new: tuple[Outcome, ...]
    still: tuple[Outcome, ...]
    recovered: tuple[Outcome, ...]

    @property
    def words(self) -> str:
        """Return the counts, and the day of the oldest failure."""
        still = f"{len(self.still)} still failing"
        first = self.still[0].failing_since if self.still else None
        if first is not None:
            still += f" ({'since' if len(self.still) == 1 else 'the oldest since'} {day(first)})"
        return f"{len(self.new)} newly failing, {still}, {len(self.recovered)} recovered"


def against_before(outcomes: Sequence[Outcome]) -> Against | None:
    """Return the comparison; None if no target is known from an earlier run."""
    if not has_run_before(outcomes):
        return None
    bad = bad_outcomes(outcomes)
    return Against(
        new=tuple(filter(is_new_failure, bad)),
        still=tuple(sorted(filterfalse(is_new_failure, bad), key=lambda outcome: outcome.failing_since or _NEVER)),
        recovered=tuple(filter(is_recovered, outcomes)),
    )


def news_of(outcomes: Sequence[Outcome]) -> str | None:
    """Return whether targets fail for the first time: `NEW`, `STILL since 2026-11-20`, `2 NEW`; None if they did not fail."""
    new = sum(map(is_new_failure, outcomes))
    if all(outcome.status.is_good for outcome in outcomes):
        return None
    if new:
        return "NEW" if new == len(outcomes) else f"{new} NEW"
    since = [outcome.failing_since for outcome in outcomes if outcome.failing_since is not None]
    return f"STILL since {day(min(since))}" if since else "STILL"


def still_since(outcome: Outcome) -> str | None:
    """Return the day since when a target fails that also failed before this run; else None."""
    if is_new_failure(outcome) or outcome.failing_since is None:
        return None
    return day(outcome.failing_since)


def is_slow(outcome: Outcome) -> bool:
    """Return whether a refresh took more than twice its usual time, and at least 5 s more.

    A usual time needs three earlier runs: the median of fewer says little.
    """
    took_s, usual_s = outcome.duration_s, outcome.usual_s
    if took_s is None or usual_s is None or outcome.covered_by is not None or outcome.usual_runs < SLOW_AFTER_RUNS:
        return False
    return took_s > SLOW_FACTOR * usual_s and took_s - usual_s >= SLOW_BY_S


def slow_outcomes(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Return the targets that are slower than usual, the most time lost first."""
    slow = [outcome for outcome in outcomes if is_slow(outcome)]
    return tuple(sorted(slow, key=lambda o: (o.usual_s or 0.0) - (o.duration_s or 0.0)))


def day(moment: datetime) -> str:
    """Return a moment's day in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


OK: Final = 0
SOME_FAILED: Final = 1
KEY_REFUSED: Final = 3
REPORT_FAILED: Final = 5
SIGNAL_BASE: Final = 128


def exit_code(
    outcomes: Iterable[Outcome],
    *,
    signal: int | None,
    refused_instances: Sequence[str],
    report_failed: bool,
    new_issues_fail: bool = False,
) -> int:
    """Return the exit code of a finished run (docs/reference/exit-codes.md); if several apply: signal, 3, 1, 5, 0.

    `signal` is the number of the signal that stopped the run. With `new_issues_fail` (`--fail-on-new-issues`) a target with
    a new error counts as one that did not succeed. 2 and 4 belong to runs that did not start.
    """
    if signal is not None:
        return SIGNAL_BASE + signal
    if refused_instances:
        return KEY_REFUSED
    if any(not outcome.status.is_good or (new_issues_fail and outcome.has_new_errors) for outcome in outcomes):
        return SOME_FAILED
    return REPORT_FAILED if report_failed else OK
