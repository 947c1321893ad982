"""What a command wants conducted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.cli.destinations import NamedFile
from orchestrator.journal.stored import NewRun
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.plan.touched import Touched
from orchestrator.report.report import Trigger
from orchestrator.run.before import NOTHING, Before
from orchestrator.run.recall import Recalled
from orchestrator.run.settings import Settings

NOTHING_RECALLED = Recalled(before=NOTHING, calls={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A run to be conducted. `simulated` is a rehearsal against the simulator, with the `scenario` file if there is one.

    `reports` are where reports go, `named` is whether somebody asked for them. `rate` is the run's share of each key's
    calls. `selection` is what was selected, as it was said. `warnings` go into the report. `metrics` is where metrics go.
    `touched` is the change that the run follows. `inputs` are files that the command line names beside the manifest.
    """

    manifest: Manifest
    selected: Sequence[Entry]
    settings: Settings
    reports: Sequence[str]
    as_json: bool
    rate: int | None
    simulated: bool = False
    scenario: str | None = None
    named: bool = True
    selection: Sequence[str] = ()
    trigger: Trigger = Trigger.RUN
    warnings: tuple[str, ...] = ()
    metrics: str | None = None
    touched: Touched | None = None
    inputs: tuple[NamedFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A run that stands in the journal: as what, and what it goes on from."""

    run: NewRun
    recalled: Recalled = field(default=NOTHING_RECALLED)

    @property
    def before(self) -> Before:
        """What is known before it begins."""
        return self.recalled.before
