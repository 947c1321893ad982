"""The Python API, as `import orchestrator` gives it.

Keyword arguments have the names of the command line's options. Durations are texts such as `30s` and `1h30m`, or seconds.
Nothing here prints, exits, sets up logging or handles signals, and several runs can share one event loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from orchestrator.app.after_run import send_notifications
from orchestrator.app.check import CheckResult
from orchestrator.app.check import check as check_manifest
from orchestrator.app.choose_run import read_earlier_report
from orchestrator.app.context import Context, make_context
from orchestrator.app.discover import Discovery, environment_manifest
from orchestrator.app.discover import discover as discover_models
from orchestrator.app.doctor import examine, make_doctor_document
from orchestrator.app.history import make_history
from orchestrator.app.overrides import Overrides, override
from orchestrator.app.plan import Plan, plan_run
from orchestrator.app.read_request import read_change
from orchestrator.app.requests import ChangeRequest, EarlierRunRequest, RunOptions, RunRequest
from orchestrator.app.runs import NothingToDo, RunEnd, resume_run, retry_run, start_run
from orchestrator.app.state import open_state
from orchestrator.app.target_list import make_target_list
from orchestrator.changes.change_set import ChangeSet
from orchestrator.durations import parse_duration
from orchestrator.engine.events import Observer
from orchestrator.errors import UsageError
from orchestrator.manifest import load as manifests
from orchestrator.manifest.manifest import Manifest
from orchestrator.planning.selection import Selector
from orchestrator.report.files import format_of, render
from orchestrator.report.files import write_report as write_file
from orchestrator.report.report import Report
from orchestrator.survey.model_listing import ModelFilter

T = TypeVar("T")
_Duration = str | float
_Overlap = Literal["fail", "wait", "proceed"]
RefreshMode = Literal["hard", "soft"]
Detachment = Literal["stopped", "submitted"]
PathLike = str | os.PathLike[str]


def load_manifest(
    path: PathLike | None = None,
    *,
    text: str | bytes | None = None,
    environ: Mapping[str, str] | None = None,
    with_keys: bool = True,
) -> Manifest:
    """Load a manifest from a file, or from a text.

    `environ` holds the variables that it may name (default: the environment). `with_keys=False` reads no key, for a manifest
    that is only planned or checked. With `text`, `path` names it in messages and is what relative paths start from.

    Raises `ManifestError` with every fault of the manifest, and `UsageError` if neither or a directory is given.
    """
    variables = os.environ if environ is None else environ
    if text is not None:
        name = "manifest" if path is None else os.fspath(path)
        return manifests.make_manifest(text, path=name, environ=variables, with_keys=with_keys)
    if path is None:
        raise UsageError("load_manifest needs a path or a text", code="missing-argument")
    return manifests.load_manifest(os.fspath(path), environ=variables, with_keys=with_keys)


def override_manifest(
    manifest: Manifest,
    *,
    mode: RefreshMode | None = None,
    timeout: _Duration | None = None,
    workers: int | None = None,
    base_url: str | None = None,
) -> Manifest:
    """Return a manifest in which these take the place of what it says, as the options of `omni-refresh run` do.

    `mode` and `timeout` are those of every model, `base_url` the address of the only instance. Raises `UsageError`.
    """
    return override(
        manifest, Overrides(mode=mode, timeout_s=_seconds("timeout", timeout), workers=workers, base_url=base_url)
    )


async def run(
    manifest: Manifest | PathLike,
    *,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allow_empty: bool = False,
    ddl: Sequence[str] = (),
    ddl_list: Sequence[str] = (),
    set_values: Mapping[str, str] | None = None,
    dialect: str | None = None,
    default_schema: str | None = None,
    strict: bool = False,
    dbt_target: str | None = None,
    dbt_state: str | None = None,
    changed: Sequence[str] = (),
    no_wait: bool = False,
    fail_fast: bool = False,
    max_failures: int | None = None,
    fail_on_new_issues: bool = False,
    deadline: _Duration | None = None,
    grace: _Duration | None = None,
    rate: int | None = None,
    on_overlap: _Overlap = "fail",
    report: Sequence[PathLike] = (),
    metrics_file: PathLike | None = None,
    detach: Detachment | None = None,
    resume: bool = False,
    key: str | None = None,
    simulate: bool = False,
    scenario: PathLike | None = None,
    state: PathLike | None = None,
    state_patience: _Duration | None = None,
    environ: Mapping[str, str] | None = None,
    on_event: Observer | None = None,
) -> Report:
    """Refresh every model of a manifest, follow each job to its end, and return the report.

    `key` names the run for a scheduler that may start it again: an unfinished run with this key is continued, a finished one
    with failures is retried, else a new run starts. `state` is a folder or a `postgresql://` address
    (default: what the environment or the manifest says), `state_patience` how long the run continues if it cannot be reached.
    `on_event` receives each event (`orchestrator.engine.events`) at once and must not block. Reports are written only to the
    paths in `report`.

    `detach` is for a run that another process follows to its end with `resume`: "submitted" ends it as soon as every refresh
    was sent, "stopped" only if it is stopped. If jobs are left then, nothing is reported, and `RunDetached` is raised.

    Cancelling the task stops the run like SIGTERM: nothing more is submitted, what is in flight is followed for the grace,
    the report is written and the journal closed, then `asyncio.CancelledError` is raised.

    Raises `ManifestError` or `UsageError` if something is wrong before the first call, `LockedError` if another run works on
    the same manifest and selection.
    """
    context = _context(environ, on_event, state_patience)
    request = RunRequest(
        manifest=_load(manifest, context, with_keys=not simulate),
        select=tuple(select),
        exclude=tuple(exclude),
        allow_empty=allow_empty,
        change=ChangeRequest(
            ddl=tuple(ddl),
            ddl_list=tuple(ddl_list),
            values=set_values or {},
            dialect=dialect,
            default_schema=default_schema,
            strict=strict,
            dbt_target=dbt_target,
            dbt_state=dbt_state,
            changed=tuple(changed),
        ),
        options=_options(
            no_wait=no_wait,
            fail_fast=fail_fast,
            max_failures=max_failures,
            fail_on_new_issues=fail_on_new_issues,
            deadline=deadline,
            grace=grace,
            rate=rate,
            on_overlap=on_overlap,
            report=report,
            metrics_file=metrics_file,
            detach=detach,
        ),
        resume=resume,
        key=key,
        simulate=simulate,
        scenario=_path(scenario),
        state=_path(state),
    )
    return await _finish(start_run(request, context), context)


async def resume(
    run: str | PathLike | None = None,
    *,
    no_wait: bool = False,
    fail_fast: bool = False,
    max_failures: int | None = None,
    fail_on_new_issues: bool = False,
    deadline: _Duration | None = None,
    grace: _Duration | None = None,
    rate: int | None = None,
    on_overlap: _Overlap = "fail",
    report: Sequence[PathLike] | None = None,
    metrics_file: PathLike | None = None,
    detach: Detachment | None = None,
    state: PathLike | None = None,
    state_patience: _Duration | None = None,
    environ: Mapping[str, str] | None = None,
    on_event: Observer | None = None,
) -> Report | None:
    """Continue a run that was cut off, and return the report of all of its targets; None if there is nothing to continue.

    `run` is the beginning of a run id, or a manifest's path or name; without it the latest run that was started from the
    working directory. What is left out stays as the run was started, but for
    `detach`. Raises what `run` raises.
    """
    context = _context(environ, on_event, state_patience)
    options = _options(
        no_wait=no_wait,
        fail_fast=fail_fast,
        max_failures=max_failures,
        fail_on_new_issues=fail_on_new_issues,
        deadline=deadline,
        grace=grace,
        rate=rate,
        on_overlap=on_overlap,
        report=report,
        metrics_file=metrics_file,
        detach=detach,
    )
    request = EarlierRunRequest(run=_path(run), options=options, state=_path(state))
    return await _finish_if_any(resume_run(request, context), context)


async def retry(
    run: str | PathLike | None = None,
    *,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allow_empty: bool = False,
    no_wait: bool = False,
    fail_fast: bool = False,
    max_failures: int | None = None,
    fail_on_new_issues: bool = False,
    deadline: _Duration | None = None,
    grace: _Duration | None = None,
    rate: int | None = None,
    on_overlap: _Overlap = "fail",
    report: Sequence[PathLike] = (),
    metrics_file: PathLike | None = None,
    state: PathLike | None = None,
    state_patience: _Duration | None = None,
    environ: Mapping[str, str] | None = None,
    on_event: Observer | None = None,
) -> Report | None:
    """Run again what did not succeed in an earlier run, and return the report; None if all of it succeeded.

    `run` is the beginning of a run id, or a manifest's path or name; without it the latest run that was started from the
    working directory. Raises what `run` raises.
    """
    context = _context(environ, on_event, state_patience)
    options = _options(
        no_wait=no_wait,
        fail_fast=fail_fast,
        max_failures=max_failures,
        fail_on_new_issues=fail_on_new_issues,
        deadline=deadline,
        grace=grace,
        rate=rate,
        on_overlap=on_overlap,
        report=report,
        metrics_file=metrics_file,
    )
    request = EarlierRunRequest(
        run=_path(run),
        select=tuple(select),
        exclude=tuple(exclude),
        allow_empty=allow_empty,
        options=options,
        state=_path(state),
    )
    return await _finish_if_any(retry_run(request, context), context)


async def plan(
    manifest: Manifest | PathLike,
    *,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allow_empty: bool = False,
    ddl: Sequence[str] = (),
    ddl_list: Sequence[str] = (),
    set_values: Mapping[str, str] | None = None,
    dialect: str | None = None,
    default_schema: str | None = None,
    strict: bool = False,
    dbt_target: str | None = None,
    dbt_state: str | None = None,
    changed: Sequence[str] = (),
    online: bool = False,
    rate: int | None = None,
    simulate: bool = False,
    scenario: PathLike | None = None,
    state: PathLike | None = None,
    environ: Mapping[str, str] | None = None,
    on_event: Observer | None = None,
) -> Plan:
    """Return what `run` would do with the same arguments. Sends no refresh, only the look-ups that `run` would make.

    With `online` it also reads which fields and documents use what the change drops or renames. Raises `ManifestError` or
    `UsageError` if something is wrong.
    """
    context = _context(environ, on_event)
    request = RunRequest(
        manifest=_load(manifest, context, with_keys=not simulate),
        select=tuple(select),
        exclude=tuple(exclude),
        allow_empty=allow_empty,
        change=ChangeRequest(
            ddl=tuple(ddl),
            ddl_list=tuple(ddl_list),
            values=set_values or {},
            dialect=dialect,
            default_schema=default_schema,
            strict=strict,
            dbt_target=dbt_target,
            dbt_state=dbt_state,
            changed=tuple(changed),
        ),
        options=RunOptions(rate=rate),
        simulate=simulate,
        scenario=_path(scenario),
        state=_path(state),
    )
    return await plan_run(request, context, online=online)


async def check(
    manifest: Manifest | PathLike,
    *,
    online: bool = False,
    state: PathLike | None = None,
    environ: Mapping[str, str] | None = None,
    on_event: Observer | None = None,
) -> CheckResult:
    """Return what is wrong with a manifest that loads; with `online` also what its instances say. Only reads.

    Raises `ManifestError` if it does not load. A manifest that is checked offline may be loaded with `with_keys=False`.
    """
    context = _context(environ, on_event)
    loaded = _load(manifest, context, with_keys=online)
    return await check_manifest(loaded, context, online=online, state=_path(state))


def ls(
    manifest: Manifest | PathLike, *, select: Sequence[str] = (), exclude: Sequence[str] = (), allow_empty: bool = False
) -> dict[str, object]:
    """Return the targets that a selection holds, the document of `ls --json`. Needs no key. Raises `UsageError`."""
    loaded = _load(manifest, _context(None, None), with_keys=False)
    return make_target_list(Selector(loaded, select, exclude).select(allow_empty=allow_empty))


async def doctor(
    manifest: Manifest | PathLike | None = None,
    *,
    state: PathLike | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Examine address, key, role, clock and state; return the document of `doctor --json`. One read for each instance."""
    context = _context(environ, None)
    loaded = environment_manifest(context) if manifest is None else _load(manifest, context, with_keys=True)
    examined = await examine(loaded, context, with_models=manifest is not None, state=_path(state))
    return make_doctor_document(examined, redact=context.redactor.redact)


async def discover(
    manifest: Manifest | PathLike | None = None,
    *,
    instance: str | None = None,
    base_url: str | None = None,
    connection: Sequence[str] = (),
    name: Sequence[str] = (),
    kind: Sequence[str] = ("SHARED",),
    state: PathLike | None = None,
    environ: Mapping[str, str] | None = None,
    on_event: Observer | None = None,
) -> Discovery:
    """Return the models of an instance, as a manifest (`to_yaml()`) and, if one is given, how that manifest differs.

    Without `manifest` the instance is that of OMNI_BASE_URL (or `base_url`) and OMNI_API_TOKEN. Only reads. Raises
    `OmniRefreshError` if the instance does not say what it has, `UsageError` for an instance that does not exist.
    """
    context = _context(environ, on_event)
    loaded = environment_manifest(context, base_url) if manifest is None else _load(manifest, context, with_keys=True)
    wanted = ModelFilter(kinds=tuple(kind), connections=tuple(connection), names=tuple(name))
    compare = manifest is not None
    return await discover_models(loaded, wanted, context, instance=instance, compare=compare, state=_path(state))


def read_changes(
    *,
    ddl: Sequence[str] = (),
    ddl_list: Sequence[str] = (),
    set_values: Mapping[str, str] | None = None,
    dialect: str | None = None,
    default_schema: str | None = None,
    strict: bool = False,
    dbt_target: str | None = None,
    dbt_state: str | None = None,
    changed: Sequence[str] = (),
) -> ChangeSet:
    """Return what migrations, a dbt invocation or a list of names changed; needs no manifest. Raises `UsageError`."""
    request = ChangeRequest(
        ddl=tuple(ddl),
        ddl_list=tuple(ddl_list),
        values=set_values or {},
        dialect=dialect,
        default_schema=default_schema,
        strict=strict,
        dbt_target=dbt_target,
        dbt_state=dbt_state,
        changed=tuple(changed),
    )
    followed = read_change(request, _context(None, None))
    return ChangeSet() if followed is None else followed.changes


def history(
    *,
    model: str | None = None,
    limit: int = 20,
    flaky: bool = False,
    manifest: str | None = None,
    since: datetime | None = None,
    state: PathLike | None = None,
    environ: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """Return earlier runs and how long each model takes: the document of `omni-refresh history --json`.

    `manifest` is a path or a manifest's name. `since` is the earliest start of a run, with a time zone.
    """
    context = _context(environ, None)
    with open_state(context, _path(state)) as opened:
        return make_history(
            opened,
            model=model,
            limit=limit,
            flaky=flaky,
            manifest=manifest,
            since=since,
            environ=context.environ,
        )


def load_report(
    run: str | PathLike | None = None,
    *,
    state: PathLike | None = None,
    environ: Mapping[str, str] | None = None,
) -> Report:
    """Return the report of an earlier run that has ended.

    `run` is the beginning of a run id, or a manifest's path or name; without it the latest run that was started from the
    working directory. Raises `UsageError` if there is none.
    """
    context = _context(environ, None)
    with open_state(context, _path(state)) as opened:
        return read_earlier_report(opened.journal, _path(run), environ=context.environ)


def write_report(report: Report, path: PathLike) -> None:
    """Write a report to a file, whole or not at all. The suffix names the format: .json .jsonl .xml .md .html .csv.

    Raises `UsageError` for another suffix, `OmniRefreshError` if the file cannot be written.
    """
    write_file(os.fspath(path), render(report, format_of(os.fspath(path))))


def run_sync(manifest: Manifest | PathLike, **options: object) -> Report:
    """Run `run` to its end in an event loop of its own, for scripts. Takes the same arguments and raises the same errors."""
    work: Callable[..., Awaitable[Report]] = run

    async def main() -> Report:
        return await work(manifest, **options)

    return asyncio.run(main())


def _context(
    environ: Mapping[str, str] | None, on_event: Observer | None, state_patience: _Duration | None = None
) -> Context:
    variables = os.environ if environ is None else environ
    patience_s = _seconds("state_patience", state_patience)
    context = make_context(variables) if on_event is None else make_context(variables, on_event)
    return context if patience_s is None else replace(context, state_patience_s=patience_s)


def _load(manifest: Manifest | PathLike, context: Context, *, with_keys: bool) -> Manifest:
    if isinstance(manifest, Manifest):
        return manifest
    return manifests.load_manifest(os.fspath(manifest), environ=context.environ, with_keys=with_keys)


def _path(given: PathLike | None) -> str | None:
    return None if given is None else os.fspath(given)


def _options(
    *,
    no_wait: bool,
    fail_fast: bool,
    max_failures: int | None,
    fail_on_new_issues: bool,
    deadline: _Duration | None,
    grace: _Duration | None,
    rate: int | None,
    on_overlap: _Overlap,
    report: Sequence[PathLike] | None,
    metrics_file: PathLike | None,
    detach: Detachment | None = None,
) -> RunOptions:
    stated = {
        "wait": False if no_wait else None,
        "max_failures": 1 if fail_fast else max_failures,
        "deadline_s": _seconds("deadline", deadline),
        "grace_s": _seconds("grace", grace),
        "fail_on_new_issues": True if fail_on_new_issues else None,
        "overlap": on_overlap,
        "detach": detach,
    }
    return RunOptions(
        settings={name: value for name, value in stated.items() if value is not None},
        report=None if report is None else tuple(os.fspath(path) for path in report),
        metrics_file=None if metrics_file is None else os.fspath(Path(metrics_file)),
        rate=rate,
    )


def _seconds(name: str, duration: _Duration | None) -> float | None:
    if duration is None:
        return None
    try:
        return parse_duration(str(duration))
    except ValueError as error:
        raise UsageError(f"{name}: {duration!r} {error}", code="invalid-duration") from None


async def _finish_if_any(work: Awaitable[RunEnd], context: Context) -> Report | None:
    try:
        return await _finish(work, context)
    except NothingToDo:
        return None


async def _finish(work: Awaitable[RunEnd], context: Context) -> Report:
    """Await a run and send its notifications; a cancellation stops the run in order first."""

    async def main() -> Report:
        end = await work
        await send_notifications(end.report, end.manifest, context, reports=end.reports)
        return end.report

    task, cancelled = asyncio.ensure_future(main()), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                break
            cancelled = True
            context.stop.request(signal.SIGTERM)
    if cancelled:
        # the run has ended in order; what it ended with is in its reports and in the journal
        task.exception()
        raise asyncio.CancelledError
    return task.result()
