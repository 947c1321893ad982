"""A run's report as a value: every selected target's outcome, in manifest order, and what the run cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from orchestrator.engine.outcome import Outcome
from orchestrator.engine.run_stats import BudgetSample
from orchestrator.values import Presence


class Trigger(StrEnum):
    """What started a run."""

    RUN = "run"
    RESUME = "resume"
    RETRY = "retry"
    CHANGE = "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Facts about the run itself.

    `signal` is the number of the signal that stopped the run, or None. `requests` counts every call, including polls.
    `manifest_identity` distinguishes the manifest from others; it is empty in reports of earlier versions.
    """

    id: str
    trigger: Trigger
    manifest_path: str
    manifest_sha256: str
    manifest_identity: str = ""
    started_at: datetime
    finished_at: datetime
    duration_s: Annotated[float, "From a monotonic clock."]
    signal: int | None = None
    resumed_from: Annotated[str | None, "The id of the first run that this one continues."] = None
    retried_from: Annotated[
        str | None, Presence.LATER, "The id of the run whose targets this one, or the run it resumed, retried."
    ] = None
    simulated: Annotated[bool, Presence.LATER, "Whether the run was a rehearsal against the simulator."] = False
    new_issues_fail: Annotated[
        bool,
        Presence.SPARSE,
        "Whether new issues made the exit code 1 (`--fail-on-new-issues`); absent if not.",
    ] = False
    requests: int = 0
    polls: int = 0
    throttled: int = 0
    refused_instances: Annotated[
        tuple[str, ...], Presence.SPARSE, "Instances that refused all their keys; absent if there are none."
    ] = ()
    quota: Annotated[
        Mapping[str, Mapping[str, object]] | None,
        Presence.SPARSE,
        "What was learned about each instance's real limit; absent if it gave what it promised.",
    ] = None
    warnings: Annotated[
        tuple[str, ...], Presence.SPARSE, "What concerns the whole run; absent if there is nothing."
    ] = ()
    budget: Annotated[
        tuple[BudgetSample, ...],
        Presence.SPARSE,
        "Calls used of the window's budget over time; absent if it was not recorded.",
    ] = ()
    instances: Annotated[
        Mapping[str, str],
        Presence.SPARSE,
        "The address of each instance, by its name; absent if the run was simulated.",
    ] = field(default_factory=dict)
    next_commands: Annotated[
        tuple[str, ...], Presence.SPARSE, "The commands that finish what the run left; absent if nothing is left."
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The complete result of a run (schema version 1)."""

    run: RunFacts
    outcomes: tuple[Outcome, ...]
    exit_code: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON data, the same document as `--json`."""
        from orchestrator.report.document import make_document

        return make_document(self)
