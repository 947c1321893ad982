"""Chooses the earlier run that a command means: by run id, by manifest, or the latest one started from this directory."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.app.state import State
from orchestrator.engine.outcome import known_status
from orchestrator.errors import UsageError
from orchestrator.journal.journal import Journal
from orchestrator.journal.records import RunRecord
from orchestrator.manifest.diagnostics import ManifestError
from orchestrator.manifest.load import load_manifest
from orchestrator.manifest.manifest import Manifest, absolute_path
from orchestrator.report.document import parse_document
from orchestrator.report.report import Report
from orchestrator.text import some
from orchestrator.values import format_stamp

_LISTED: Final = 5
_NAMES_LISTED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The runs that a command may mean, the latest first. `whose` follows "run": " of nightly.yaml"."""

    runs: tuple[RunRecord, ...]
    whose: str = ""
    by_id: bool = False

    @property
    def no_runs(self) -> str:
        """The message if there is none."""
        return f"there is no run{self.whose} yet"

    @property
    def nothing_unfinished(self) -> str:
        """The message if `unfinished` finds none."""
        if not self.runs:
            return self.no_runs
        return f"run {self.runs[0].id} has ended" if self.by_id else f"no run{self.whose} was cut off"

    @property
    def latest(self) -> RunRecord | None:
        """The latest of them."""
        return self.runs[0] if self.runs else None

    def to_retry(self, journal: Journal) -> RunRecord | None:
        """Return the run to retry: the named one, or the first run in the latest one's chain of retries.

        A retry holds only some of the targets; the newest result of each target of the first run decides what is left.
        """
        if self.by_id or self.latest is None:
            return self.latest
        return journal.run(journal.chain(self.latest.root)[0].root)

    def unfinished(self, state: State) -> RunRecord | None:
        """Return the latest run that was cut off and that no process works on. If a run was named, only that run counts.

        If processes work on all unfinished runs, return the latest of them: continuing it then fails as locked.
        """
        unfinished = [r for r in self.runs if r.unfinished]
        if self.by_id:
            return unfinished[0] if unfinished and unfinished[0] is self.runs[0] else None
        return next((r for r in unfinished if is_resumable(r, state)), next(iter(unfinished), None))


def read_earlier_report(journal: Journal, run: str | None, *, environ: Mapping[str, str]) -> Report:
    """Return the report of a run that has ended; `run` as in `choose_runs`. Raises `UsageError` if there is none."""
    choice = choose_runs(journal, run, command="report", environ=environ)
    record = choice.latest
    if record is None:
        raise UsageError(choice.no_runs, code="no-run")
    document = journal.document(record.id)
    if document is None:
        raise UsageError(
            f"run {record.id} was cut off or is still active",
            code="no-report",
            hint=f"to get its report, use `omni-refresh resume {record.id}`",
        )
    return parse_document(document)


def working_directory() -> str | None:
    """Return the working directory; None if it no longer exists."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def choose_runs(journal: Journal, wanted: str | None, *, command: str, environ: Mapping[str, str]) -> Choice:
    """Return the runs that `wanted` means: the start of a run id, a manifest's path or name, or None for this directory.

    Raises `UsageError` if `wanted` is no run and no manifest. Also for None if all known runs were started from elsewhere:
    no command picks another directory's run by itself.
    """
    if wanted is None:
        return _of_directory(journal, command)
    if journal.find(wanted):
        return Choice(runs=(find_run(journal, wanted),), by_id=True)
    found = runs_of_manifest(journal, wanted, environ)
    if not found and not Path(wanted).is_file():
        find_run(journal, wanted)
    return Choice(runs=found, whose=f" of {wanted}")


def named_manifest(wanted: str | None, environ: Mapping[str, str]) -> Manifest | None:
    """Return the manifest that a command names instead of a run; it may say where the state is. None if it names none."""
    if wanted is None or not Path(wanted).is_file():
        return None
    # a manifest that is wrong by now is still known by its path
    with suppress(ManifestError):
        return load_manifest(wanted, environ=environ, with_keys=False)
    return None


def find_run(journal: Journal, prefix: str) -> RunRecord:
    """Return the run whose id begins with `prefix`. Raises `UsageError`, with similar ids, if not exactly one does."""
    found = journal.find(prefix)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{len(found)} runs begin with {prefix!r}: {', '.join(r.id for r in found[:5])}",
            code="ambiguous-run",
            hint="write more of the id",
        )
    known = [r.id for r in journal.runs(limit=1000)]
    near = difflib.get_close_matches(prefix, known, n=3, cutoff=0.3) or known[:3]
    advice = f"near: {', '.join(near)}" if near else "there are no runs yet"
    raise UsageError(
        f"no run begins with {prefix!r}, and it is no manifest; {advice}",
        code="unknown-run",
        hint="`omni-refresh history` lists all runs",
    )


def unfinished_run(state: State, *, lock: str) -> RunRecord | None:
    """Return the latest run under a lock if it was cut off and no process works on it."""
    latest = next((r for r in state.journal.runs() if r.lock == lock), None)
    return latest if latest is not None and is_resumable(latest, state) else None


def is_resumable(record: RunRecord, state: State) -> bool:
    """Return whether a run was cut off and no process works on it now."""
    return record.unfinished and bool(record.targets) and state.is_at_work(record.root) is None


def _of_directory(journal: Journal, command: str) -> Choice:
    """Return the runs that were started from the working directory, and those that resumed or retried one of them."""
    here, runs = working_directory(), journal.runs()
    found: set[str] = set()
    for record in reversed(runs):
        if (here is not None and record.directory == here) or record.origin in found:
            found.add(record.id)
    if runs and not found:
        raise UsageError(_elsewhere(journal, runs, here, command), code="no-run-here")
    return Choice(runs=tuple(r for r in runs if r.id in found), whose=" from this directory" if runs else "")


def runs_of_manifest(journal: Journal, wanted: str, environ: Mapping[str, str]) -> tuple[RunRecord, ...]:
    """Return the runs of a manifest, the latest first, by its path or its `name:`, whatever it contains now."""
    path = absolute_path(wanted)
    manifest = named_manifest(wanted, environ)
    identities = {wanted, path} if manifest is None else {wanted, path, manifest.identity}
    return tuple(r for r in journal.runs() if r.manifest_identity in identities or r.manifest_file == path)


def _elsewhere(journal: Journal, runs: Sequence[RunRecord], here: str | None, command: str) -> str:
    lines = [f"no run was started from this directory ({here or 'it no longer exists'}); nothing was sent."]
    lines.append("The latest runs from elsewhere:")
    for record in runs[:_LISTED]:
        where = f"in {record.directory}" if record.directory is not None else f"({record.manifest_file})"
        started = format_stamp(record.began_at).replace("T", " ")[:16]
        lines.append(f"  {record.id}  {record.manifest_path}  {where}  {started}  {_what_failed(journal, record)}")
    if len(runs) > _LISTED:
        lines.append(f"  and {len(runs) - _LISTED} earlier: omni-refresh history")
    lines.append(f"Name the run or the manifest: omni-refresh {command} {runs[0].id}")
    return "\n".join(lines)


def _what_failed(journal: Journal, record: RunRecord) -> str:
    """Return which targets of a run did not succeed, the first few by name."""
    bad = [t.name for t in journal.targets(record.root) if not _is_good(t.outcome)]
    cut = "cut off; " if record.unfinished else ""
    return cut + (f"not done: {some(bad, at_most=_NAMES_LISTED)}" if bad else "all succeeded")


def _is_good(outcome: Mapping[str, object] | None) -> bool:
    status = known_status((outcome or {}).get("status"))
    return status is not None and status.is_good
