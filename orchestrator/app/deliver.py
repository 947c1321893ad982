"""Reports: checks that no output replaces another file, and writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator.app.requests import ChangeRequest
from orchestrator.engine.events import Observer, ReportFailed, ReportWritten
from orchestrator.engine.outcome import Outcome
from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import Manifest
from orchestrator.report.as_json import JsonLines
from orchestrator.report.files import (
    Format,
    ReportError,
    append_step_summary,
    check_writable,
    format_of,
    render,
    write_report,
)
from orchestrator.report.report import Report


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the command reads or writes, and what people call it."""

    what: str
    path: str


def check_destinations(
    outputs: Sequence[NamedFile], *, inputs: Iterable[NamedFile] = (), state: Path | None = None
) -> None:
    """Raise `UsageError` for an output that is an input or another output, also through links, or lies in folder `state`."""
    taken = {key: (given, "replace") for given in inputs for key in _identities(given.path)}
    for output in outputs:
        keys = _identities(output.path)
        for key in keys:
            if key in taken:
                other, verb = taken[key]
                advice = "give each a path of its own" if verb == "share" else "choose another path"
                raise UsageError(
                    f"{output.what} {output.path} would {verb} {other.what}: {other.path} is the same file",
                    code="output-conflict",
                    hint=advice,
                )
        if state is not None and Path(os.path.realpath(output.path)).is_relative_to(os.path.realpath(state)):
            raise UsageError(
                f"{output.what} {output.path} lies in the state folder {state}",
                code="output-conflict",
                hint="choose another path",
            )
        taken |= dict.fromkeys(keys, (output, "share"))


def report_files(paths: Iterable[str]) -> tuple[NamedFile, ...]:
    """Return the reports of a run as outputs."""
    return tuple(NamedFile("the report", path) for path in paths)


def manifest_files(manifest: Manifest) -> Iterator[NamedFile]:
    """Yield the files that a manifest consists of: its own, keys, certificates."""
    yield NamedFile("the manifest", manifest.path)
    for instance in manifest.instances.values():
        for key in instance.keys:
            if key.source.file is not None:
                yield NamedFile("the key file", str(key.source.file))
        if instance.ca_file is not None:
            yield NamedFile("the certificates", str(instance.ca_file))


def change_files(change: ChangeRequest, scenario: str | None) -> Iterator[NamedFile]:
    """Yield the files that a change and a scenario are read from."""
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
    """Return what all paths of one file share: the path without links, and the file's number if it exists."""
    real = os.path.realpath(path)
    try:
        found = Path(real).stat()
    except OSError:
        return (real,)
    return (real, (found.st_dev, found.st_ino))


DEFAULT_REPORT = "omni-refresh-report.json"
RETRY_REPORT = "omni-refresh-report.retry.json"
SIMULATED_REPORT = "omni-refresh-report.simulated.json"

_SIMULATED_MARK = re.compile(rb'SIMULATED|"simulated": ?true')
_MARK_WITHIN_BYTES = 1 << 16


def check_reports(paths: Sequence[str], observe: Observer, *, named: bool, simulated: bool = False) -> tuple[str, ...]:
    """Return those report paths that can be written.

    Raises `UsageError` for a path that cannot; if it is not `named`, only warns. A simulated run replaces only the report of
    another simulated run.
    """
    good = []
    for path in paths:
        try:
            format_of(path)
            check_writable(path)
            if simulated:
                _check_replaceable(path)
        except UsageError as error:
            if named:
                raise
            observe(ReportFailed(path=path, message=str(error), fatal=False))
        else:
            good.append(path)
    return tuple(good)


def _check_replaceable(path: str) -> None:
    """Raise UsageError if a rehearsal's report would replace a file that is no rehearsal's report."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(_MARK_WITHIN_BYTES)
    except OSError:
        # there is nothing to replace
        return
    if head and not _SIMULATED_MARK.search(head):
        raise UsageError(
            f"{path} exists and is not the report of a simulated run; nothing was run",
            code="output-exists",
            hint="name another path with --report",
        )


def open_growing(
    paths: Sequence[str], earlier: Sequence[Outcome], observe: Observer, *, simulated: bool = False
) -> list[JsonLines]:
    """Open the reports that grow during the run, with what is known already. One that cannot be is written at the end."""
    found = []
    for path in paths:
        if format_of(path) is Format.JSONL:
            with _failure_as_warning(path, observe):
                found.append(JsonLines(path, earlier, simulated=simulated))
    return found


def grow(growing: Sequence[JsonLines], observe: Observer) -> Callable[[Outcome], None]:
    """Return what adds an outcome to each growing report. One that cannot be written does not stop the run."""

    def append(outcome: Outcome) -> None:
        for lines in growing:
            with _failure_as_warning(lines.path, observe):
                lines.append(outcome)

    return append


def close_growing(growing: Sequence[JsonLines], observe: Observer) -> None:
    """Close the growing reports of a run that leaves the rest to another one."""
    for lines in growing:
        with _failure_as_warning(lines.path, observe):
            lines.close()


def write_reports(
    report: Report, paths: Sequence[str], observe: Observer, growing: Sequence[JsonLines] = ()
) -> tuple[str, ...]:
    """Write every report that can be written; return the paths of those that were."""
    grown = {str(lines.path): lines for lines in growing}
    written = []
    for path in paths:
        lines = grown.get(path)
        if lines is not None:
            write = partial(lines.close, report.outcomes)
        else:
            write = partial(write_report, path, render(report, format_of(path)))
        if try_write(write, path, observe):
            written.append(path)
    return tuple(written)


def append_job_summary(report: Report, environ: Mapping[str, str], observe: Observer) -> None:
    """Add the report to the job summary of a CI system that asks for one."""
    path = environ.get("GITHUB_STEP_SUMMARY")
    if path:
        try_write(partial(append_step_summary, path, render(report, Format.MARKDOWN)), path, observe)


def try_write(write: Callable[[], None], path: str, observe: Observer) -> bool:
    """Write a file, report whether that succeeded, and return it."""
    try:
        write()
    except ReportError as error:
        observe(ReportFailed(path=path, message=str(error)))
        return False
    observe(ReportWritten(path=path))
    return True


@contextmanager
def _failure_as_warning(path: str | Path, observe: Observer) -> Iterator[None]:
    """Report a failure to write a growing report; the run continues."""
    try:
        yield
    except ReportError as error:
        observe(ReportFailed(path=str(path), message=str(error), fatal=False))
