"""A run's report as a value: every selected target's outcome, in manifest order, and what the run cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from orchestrator.engine.outcome import Outcome
from orchestrator.engine.run_stats import BudgetSample


class Trigger(StrEnum):
    """What started a run."""

    RUN = "run"
    RESUME = "resume"
    RETRY = "retry"
    CHANGE = "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Facts of the run itself. `duration_s` is from a monotonic clock; `requests` counts every call, polls included.

    `signal` is the number of the signal that stopped the run, or None. `refused_instances` are those whose keys were all
    refused. `quota` is what was learned about each instance's real limit (empty: it gave what it promised). `budget` is how
    the calls were spent over time, oldest first; empty where nobody kept it. `manifest_identity` is what tells the manifest
    from others; empty in reports of earlier versions. `retried_from` is the run whose targets this one retried.
    `simulated`: it ran against the simulator, and says nothing of a real instance.
    """

    id: str
    trigger: Trigger
    manifest_path: str
    manifest_sha256: str
    started_at: datetime
    finished_at: datetime
    duration_s: float
    signal: int | None = None
    resumed_from: str | None = None
    requests: int = 0
    polls: int = 0
    throttled: int = 0
    refused_instances: tuple[str, ...] = ()
    quota: Mapping[str, Mapping[str, object]] | None = None
    warnings: tuple[str, ...] = ()
    budget: tuple[BudgetSample, ...] = ()
    manifest_identity: str = ""
    retried_from: str | None = None
    simulated: bool = False
    new_issues_fail: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a run says about itself (schema version 1)."""

    run: RunFacts
    outcomes: tuple[Outcome, ...]
    exit_code: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON data, the same document as `--json`."""
        from orchestrator.report.document import make_document

        return make_document(self)
