"""Requests to use cases, as values. Each field is named like its option on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.app.overrides import NO_OVERRIDES, Overrides
from orchestrator.manifest.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRequest:
    """Where the change that a run follows is read from. Nothing named: the run follows no change.

    `values` fills the placeholders of migrations, by name (`--set` on the command line).
    """

    ddl: tuple[str, ...] = ()
    ddl_list: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    dialect: str | None = None
    default_schema: str | None = None
    strict: bool = False
    dbt_target: str | None = None
    dbt_state: str | None = None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run works and what it writes. None and empty: the default, or for an earlier run what it was started with.

    `settings` are fields of `RunSettings` by name. `report` None means the default report, an empty tuple none. `rate` is
    the run's share of each key's calls per window.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    report: tuple[str, ...] | None = None
    metrics_file: str | None = None
    rate: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A request to run `manifest`, or to plan it.

    `overrides` say what is done differently from it. `select` and `exclude` pick its models, `allow_empty` accepts that nothing is picked. `resume` continues the unfinished
    run of the same manifest and selection, if there is one. `key` names the run for a scheduler that may start it again: an
    unfinished run with this key is continued, a finished one with failures is retried, else a new run starts. `simulate` runs against a simulator, with `scenario` or the one
    beside the manifest. `state` is the state folder (None: the environment's).
    """

    manifest: Manifest
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_empty: bool = False
    change: ChangeRequest = field(default_factory=ChangeRequest)
    overrides: Overrides = NO_OVERRIDES
    options: RunOptions = field(default_factory=RunOptions)
    resume: bool = False
    key: str | None = None
    simulate: bool = False
    scenario: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRunRequest:
    """A request to resume or retry an earlier run.

    `run` is the beginning of a run id, or a manifest's path or name; None means the latest run that was started from the
    working directory. `select`, `exclude` and `allow_empty` narrow a retry.
    """

    run: str | None = None
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_empty: bool = False
    options: RunOptions = field(default_factory=RunOptions)
    state: str | None = None
