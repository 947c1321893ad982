"""A run beside those before it: what newly fails, still fails and has recovered, and what took longer than it usually does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from orchestrator.engine.outcome import Outcome
from orchestrator.report.counts import bad_outcomes, has_run_before, is_new_failure, is_recovered

SLOW_FACTOR: Final = 2.0
SLOW_BY_S: Final = 5.0
"""An end is seen up to this long after it came: shorter delays tell nothing."""

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """Targets by what has changed, worst first; the longest failing first among those that still fail."""

    new: tuple[Outcome, ...]
    still: tuple[Outcome, ...]
    recovered: tuple[Outcome, ...]

    @property
    def words(self) -> str:
        """The counts, and since when the oldest failure lasts."""
        still = f"{len(self.still)} still failing"
        first = self.still[0].failing_since if self.still else None
        if first is not None:
            still += f" ({'since' if len(self.still) == 1 else 'the oldest since'} {day(first)})"
        return f"{len(self.new)} newly failing, {still}, {len(self.recovered)} recovered"


def against_before(outcomes: Sequence[Outcome]) -> Against | None:
    """The comparison; None where no target is known from an earlier run."""
    if not has_run_before(outcomes):
        return None
    bad = bad_outcomes(outcomes)
    still = [outcome for outcome in bad if not is_new_failure(outcome)]
    return Against(
        new=tuple(outcome for outcome in bad if is_new_failure(outcome)),
        still=tuple(sorted(still, key=lambda o: o.failing_since or _NEVER)),
        recovered=tuple(outcome for outcome in outcomes if is_recovered(outcome)),
    )


def still_since(outcome: Outcome) -> str | None:
    """The day since when a target has been failing that failed before this run, too."""
    if is_new_failure(outcome) or outcome.failing_since is None:
        return None
    return day(outcome.failing_since)


def is_slow(outcome: Outcome) -> bool:
    """Whether a refresh took more than twice its usual time, and so much more that it is no accident of asking."""
    took_s, usual_s = outcome.duration_s, outcome.usual_s
    if took_s is None or usual_s is None or outcome.covered_by is not None:
        return False
    return took_s > SLOW_FACTOR * usual_s and took_s - usual_s >= SLOW_BY_S


def slow_outcomes(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Those that took more than twice their usual time; what lost most time first."""
    slow = [outcome for outcome in outcomes if is_slow(outcome)]
    return tuple(sorted(slow, key=lambda o: (o.usual_s or 0.0) - (o.duration_s or 0.0)))


def day(moment: datetime) -> str:
    """A moment's day in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d")
