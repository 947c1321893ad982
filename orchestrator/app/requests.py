"""Requests to use cases, as values. Each field is named like its option on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from orchestrator.app.overrides import NO_OVERRIDES, Overrides
from orchestrator.manifest.manifest import Manifest

HIDDEN_VALUE: Final = "..."
"""Stands for the value of a placeholder where only its name is stored or shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRequest:
    """Where the change that a run follows is read from. If nothing is named, the run follows no change.

    `values` fills the placeholders of migrations, by name (`--set` on the command line). A value may be a secret: a
    run stores and suggests the request without the values.
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

    def without_values(self) -> ChangeRequest:
        """Return the request with `HIDDEN_VALUE` for the value of each placeholder."""
        return replace(self, values=dict.fromkeys(self.values, HIDDEN_VALUE))

    def as_options(self, folder: str | None = None) -> tuple[str, ...]:
        """Return the same request as command-line options, with the names of placeholders but not their values.

        `folder` is put before relative paths, unless it is None.
        """

        def at(path: str) -> str:
            mark = "@" * path.startswith("@")
            return path if path == "-" or folder is None else mark + str(Path(folder, path.removeprefix("@")))

        given = [
            *(("--ddl", at(path)) for path in self.ddl),
            *(("--ddl-list", at(path)) for path in self.ddl_list),
            *(("--set", f"{name}={HIDDEN_VALUE}") for name in self.values),
            *((flag, word) for flag, word in (("--dialect", self.dialect), ("--default-schema", self.default_schema))),
            *(
                (flag, path and at(path))
                for flag, path in (("--dbt-target", self.dbt_target), ("--dbt-state", self.dbt_state))
            ),
            *(("--changed", at(name) if name.startswith("@") else name) for name in self.changed),
        ]
        words = [word for flag, value in given if value is not None for word in _option(flag, value)]
        return (*words, *(["--strict"] if self.strict else []))


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

    `overrides` say what is done differently from it. `select` and `exclude` pick its models, `allow_empty` accepts that nothing
    is picked. `resume` continues the unfinished run of the same manifest and selection, if there is one. `key` names the run
    for a scheduler that may start it again: an unfinished run with this key is continued, a finished one with failures is
    retried, else a new run starts. `simulate` runs against a simulator, with `scenario` or the one beside the manifest. `state`
    is the state folder (None: the environment's).
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
class StatedRequest:
    """What decides, beside the manifest, which refreshes a run sends: enough to print the command that states it again.

    `select` None: the run is a part of another one, and only the names of its targets say which. `folder` is the working
    directory that relative paths of the change start from; None if it is unknown.
    """

    select: tuple[str, ...] | None = ()
    exclude: tuple[str, ...] = ()
    overrides: Overrides = NO_OVERRIDES
    change: ChangeRequest = field(default_factory=ChangeRequest)
    folder: str | None = None

    def as_options(self, *, one_off: bool, here: str | None) -> tuple[str, ...]:
        """Return the options of the overrides and the change, for the working directory `here`.

        A `one_off` run has no manifest: its models' options name the mode already.
        """
        overrides = replace(self.overrides, mode=None) if one_off else self.overrides
        return (*overrides.as_options(), *self.change.as_options(None if here == self.folder else self.folder))

    def selection(self) -> tuple[str, ...]:
        """Return the options that select the run's targets."""
        given = (*(("--select", word) for word in self.select or ()), *(("--exclude", word) for word in self.exclude))
        return tuple(word for flag, value in given for word in _option(flag, value))


AS_THE_MANIFEST_SAYS: Final = StatedRequest()
"""A request of all models of a manifest, without any change of it."""


def _option(flag: str, value: str) -> tuple[str, ...]:
    """Return an option and its value as words, as one if the value would be taken for an option."""
    return (f"{flag}={value}",) if value.startswith("-") and value != "-" else (flag, value)


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
