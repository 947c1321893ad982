"""Checks before the first call that no output would replace an input, another output, or the program's own state."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.app.requests import ChangeRequest
from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import Manifest


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the command reads or writes, and what people call it."""

    what: str
    path: str


def check_destinations(
    outputs: Sequence[NamedFile], *, inputs: Iterable[NamedFile] = (), state: Path | None = None
) -> None:
    """Raise UsageError for an output that is also an input or another output, by whatever spelling or link, or that lies
    in the state folder `state`.
    """
    taken = {key: (given, "replace") for given in inputs for key in _identities(given.path)}
    for output in outputs:
        keys = _identities(output.path)
        for key in keys:
            if key in taken:
                other, verb = taken[key]
                advice = "give each a path of its own" if verb == "share" else "choose another path"
                raise UsageError(
                    f"{output.what} {output.path} would {verb} {other.what}: {other.path} is the same file; {advice}"
                )
        if state is not None and Path(os.path.realpath(output.path)).is_relative_to(os.path.realpath(state)):
            raise UsageError(f"{output.what} {output.path} lies in the state folder {state}: choose another path")
        taken |= dict.fromkeys(keys, (output, "share"))


def report_files(paths: Iterable[str]) -> tuple[NamedFile, ...]:
    """The reports of a run as outputs."""
    return tuple(NamedFile("the report", path) for path in paths)


def manifest_files(manifest: Manifest) -> Iterator[NamedFile]:
    """The files that a manifest consists of: its own, keys, certificates."""
    yield NamedFile("the manifest", manifest.path)
    for instance in manifest.instances.values():
        for key in instance.keys:
            if key.source.file is not None:
                yield NamedFile("the key file", str(key.source.file))
        if instance.ca_file is not None:
            yield NamedFile("the certificates", str(instance.ca_file))


def change_files(change: ChangeRequest, scenario: str | None) -> Iterator[NamedFile]:
    """The files that a change and a scenario are read from."""
    for name in change.ddl:
        if name.startswith("@"):
            yield NamedFile("the list of migrations", name[1:])
        elif name != "-":
            yield NamedFile("the migration", name)
    for name in change.ddl_list:
        if name != "-":
            yield NamedFile("the list of migrations", name)
    for name in change.changed:
        if name.startswith("@"):
            yield NamedFile("the list of changes", name[1:])
    for folder in filter(None, (change.dbt_target, change.dbt_state)):
        for artifact in ("run_results.json", "manifest.json"):
            yield NamedFile("dbt's artifact", str(Path(folder) / artifact))
    if scenario is not None:
        yield NamedFile("the scenario", scenario)


def _identities(path: str) -> tuple[object, ...]:
    """What two paths of the same file have in common: the path without links, and the file's number if it exists."""
    real = os.path.realpath(path)
    try:
        found = Path(real).stat()
    except OSError:
        return (real,)
    return (real, (found.st_dev, found.st_ino))
