"""How a run ended, in one phrase that every format shows."""

from __future__ import annotations

from typing import Final

from orchestrator.engine.outcome import Status
from orchestrator.report.counts import issue_outcomes
from orchestrator.report.report import Report

SIMULATED: Final = "SIMULATED"
"""The word that marks everything a rehearsal writes."""

SIMULATED_NOTE: Final = f"{SIMULATED}: a rehearsal against the simulator; nothing was sent to a real instance"
"""The same as a sentence."""


def headline(report: Report) -> str:
    """The run's end as a phrase that begins in lower case, for example `2 of 3 targets did not succeed`."""
    total = len(report.outcomes)
    targets = "target" if total == 1 else "targets"
    bad = sum(not outcome.status.is_good for outcome in report.outcomes)
    if not total:
        return "nothing to do: no targets"
    issues = len(issue_outcomes(report))
    if bad:
        also = f", {issues:,} brought new validation issues" if issues else ""
        return f"{bad:,} of {total:,} {targets} did not succeed{also}"
    if issues:
        return f"{issues:,} of {total:,} {targets} brought new validation issues"
    if all(outcome.status is Status.SKIPPED for outcome in report.outcomes):
        return "nothing to do: " + ("the target was skipped" if total == 1 else f"all {total:,} targets were skipped")
    return "the target is good" if total == 1 else f"all {total:,} targets are good"


def is_bad(report: Report) -> bool:
    """Whether some target did not succeed, or brought validation issues that count."""
    return bool(issue_outcomes(report)) or not all(outcome.status.is_good for outcome in report.outcomes)


def capitalized(phrase: str) -> str:
    """The phrase as the beginning of a line."""
    return phrase[:1].upper() + phrase[1:]
