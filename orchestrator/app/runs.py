"""Starts, resumes and retries runs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from signal import Signals

from orchestrator.app.after_run import metrics_path, reread_notices
from orchestrator.app.choose_run import (
    Choice,
    choose_runs,
    is_resumable,
    named_manifest,
    unfinished_run,
    working_directory,
)
from orchestrator.app.context import Context
from orchestrator.app.deliver import (
    DEFAULT_REPORT,
    RETRY_REPORT,
    SIMULATED_REPORT,
    NamedFile,
    change_files,
    check_destinations,
    check_reports,
    manifest_files,
    report_files,
)
from orchestrator.app.read_request import fingerprint, read_request
from orchestrator.app.requests import EarlierRunRequest, RunOptions, RunRequest, StatedRequest
from orchestrator.app.state import State, open_state_async, take_root
from orchestrator.engine.events import ManifestChanged, RunContinued, RunWaiting, StateFailed
from orchestrator.engine.restore import (
    NOTHING,
    Restored,
    new_targets,
    restore_for_resume,
    restore_for_retry,
    wanted_by_retry,
)
from orchestrator.engine.run_context import Detach, Overlap, RunSettings
from orchestrator.errors import LockedError, OmniRefreshError, UsageError
from orchestrator.input_file import read_input
from orchestrator.journal.database import StoreUnreachable
from orchestrator.journal.journal import Journal
from orchestrator.journal.locks import key_lock, run_lock
from orchestrator.journal.records import NewRun, RootRecord, RunRecord, StoredRequest, StoredTarget, with_branches
from orchestrator.journal.steps import Steps
from orchestrator.manifest.credentials import api_key_again
from orchestrator.manifest.manifest import ApiKey, Entry, Manifest, absolute_path
from orchestrator.manifest.yaml_text import MAX_BYTES
from orchestrator.omni.network import make_tls_context, route_to
from orchestrator.planning.followed_change import FollowedChange, change_as_data, change_from_data
from orchestrator.planning.selection import Selector, nothing_selected
from orchestrator.report.report import Report, Trigger
from orchestrator.text import some
from orchestrator.values import as_data, from_data

_NAMES_SHOWN = 5
_LOOK_EVERY_S = 0.5
_REPORT_EVERY_S = 30.0
_NOTHING_RECALLED = Restored(prior=NOTHING, calls={})


class NothingToDo(Exception):
    """There is nothing to resume or to retry; the text says why."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"nothing to {what}: {why}")


class StoppedWhileWaiting(OmniRefreshError):
    """A stop was requested before the run began to work; nothing was sent. `signal` is the signal's number."""

    def __init__(self, signal: int | None, awaited: str = "another run") -> None:
        by = "" if signal is None else f" by {Signals(signal).name}"
        super().__init__(f"stopped{by} while waiting for {awaited}; nothing was sent")
        self.signal = signal


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """Everything that is decided about a run before it works.

    `since` is the number of the latest run when that was decided. `restored` is what it continues from. `reports` are the
    paths of its reports, `named` is whether the user named them. `selector` picks branches of branch patterns. `stated` is
    what decides, beside the manifest, what is sent. `warnings` go into the report. `followed` is the change that it follows. `inputs` are files that the request names beside
    the manifest.
    """

    record: NewRun
    since: int
    manifest: Manifest
    selected: tuple[Entry, ...]
    selector: Selector
    settings: RunSettings
    reports: tuple[str, ...]
    named: bool
    restored: Restored = field(default=_NOTHING_RECALLED)
    rate: int | None = None
    metrics: str | None = None
    simulated: bool = False
    scenario: str | None = None
    stated: StatedRequest = field(default_factory=StatedRequest)
    warnings: tuple[str, ...] = ()
    followed: FollowedChange | None = None
    inputs: tuple[NamedFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended: its report, and the paths of the reports that were written. `manifest` has the notifications that are
    still to be sent.
    """

    report: Report
    manifest: Manifest
    reports: tuple[str, ...]


async def start_run(request: RunRequest, context: Context) -> RunEnd:
    """Run a manifest to its end; with `resume`, continue its unfinished run if there is one.

    Raises `UsageError` if anything is wrong before the first call, `LockedError` if another run works on the same manifest
    and selection.
    """
    if request.simulate and request.options.metrics_file:
        raise UsageError(
            "--metrics-file (or OMNI_REFRESH_METRICS_FILE) with --simulate: a simulated run has no metrics",
            code="option-conflict",
            hint="remove one of them",
        )
    read = read_request(request, context)
    manifest, followed = read.manifest, read.followed
    lock = run_lock(manifest.identity, selection_of(request, followed))
    default = SIMULATED_REPORT if request.simulate else DEFAULT_REPORT
    async with _run_state(context, request.state, manifest, simulated=request.simulate) as state:
        since = await state.call(state.journal.latest_number)
        if request.resume:
            unfinished = await state.call(lambda: unfinished_run(state, lock=lock))
            if unfinished is not None:
                return await _resume(unfinished, since, request.options, context, state)
        if request.key is not None:
            overlap = from_data(RunSettings, request.options.settings).overlap
            await _take_lock(key_lock(request.key), overlap, context, state)
            since = await state.call(state.journal.latest_number)
            continued = await _continue_key(request, since, context, state)
            if continued is not None:
                return continued
        record = NewRun(
            id=state.run,
            root=state.run,
            origin=None,
            trigger=(Trigger.RUN if followed is None else Trigger.CHANGE).value,
            manifest_path=manifest.path,
            manifest_file=absolute_path(manifest.path),
            manifest_identity=manifest.identity,
            manifest_sha256=manifest.sha256,
            lock=lock,
            began_at=state.clock.utcnow(),
            directory=working_directory(),
            key=request.key,
        )
        prepared = PreparedRun(
            record=record,
            since=since,
            manifest=manifest,
            selected=read.selected,
            selector=read.selector,
            settings=from_data(RunSettings, request.options.settings),
            reports=report_paths(request.options.report, default=default),
            named=bool(request.options.report),
            rate=request.options.rate,
            metrics=metrics_path(request.options.metrics_file),
            simulated=request.simulate,
            scenario=request.scenario,
            stated=StatedRequest(
                select=request.select,
                exclude=request.exclude,
                overrides=request.overrides,
                change=request.change.without_values(),
                folder=working_directory(),
            ),
            inputs=tuple(change_files(request.change, request.scenario)),
            followed=followed,
        )
        writable = _writable_reports(prepared, context, state)
        await _take_lock(lock, prepared.settings.overlap, context, state)
        steps = await state.call(lambda: _begin(prepared, state))
        return await _execute(prepared, steps, writable, context, state)


async def resume_run(request: EarlierRunRequest, context: Context) -> RunEnd:
    """Continue a run that was cut off. Raises `NothingToDo` if there is none, and what `start_run` raises."""
    async with _run_state(context, request.state, named_manifest(request.run, context.environ)) as state:
        since, choice = await _choose(request, "resume", context, state)
        record = await state.call(lambda: choice.unfinished(state))
        if record is None:
            raise NothingToDo("resume", choice.nothing_unfinished)
        return await _resume(record, since, request.options, context, state)


async def retry_run(request: EarlierRunRequest, context: Context) -> RunEnd:
    """Run again what did not succeed in an earlier run.

    The newest result of each target decides, from whichever run in the chain of retries it comes. Raises `NothingToDo` if
    all of them succeeded. If only the selection leaves nothing: `UsageError`, or with `allow_empty` `NothingToDo`. Raises
    what `start_run` raises.
    """
    async with _run_state(context, request.state, named_manifest(request.run, context.environ)) as state:
        since, choice = await _choose(request, "retry", context, state)
        record = await state.call(lambda: choice.to_retry(state.journal))
        if record is None:
            raise NothingToDo("retry", choice.no_runs)
        return await _retry(record, since, request, context, state)


async def _choose(request: EarlierRunRequest, command: str, context: Context, state: State) -> tuple[int, Choice]:
    """Return the number of the latest run, and the runs that the command may continue, as they are then or later."""
    since = await state.call(state.journal.latest_number)
    choose = partial(choose_runs, state.journal, request.run, command=command, environ=context.environ)
    return since, await state.call(choose)


@asynccontextmanager
async def _run_state(
    context: Context, named: str | None, manifest: Manifest | None, *, simulated: bool = False
) -> AsyncIterator[State]:
    """Open the state. If a shared state's server restarts or cannot be reached, wait for it as long as a run would.

    What waiting cannot cure fails at once, see `open_state`. Raises `StoppedWhileWaiting`.
    """
    began_at, is_told = context.clock.now(), False
    async with AsyncExitStack() as stack:
        state: State | None = None
        while state is None:
            opening = open_state_async(context, named, simulated=simulated, manifest=manifest)
            try:
                state = await stack.enter_async_context(opening)
            except StoreUnreachable as error:
                if not error.may_pass or context.clock.now() - began_at >= context.state_patience_s:
                    raise
                if context.stop.requested:
                    raise StoppedWhileWaiting(context.stop.signals[0], "the shared state") from None
                if not is_told:
                    is_told = True
                    context.observe(StateFailed(what="state", message=str(error)))
                await asyncio.sleep(_LOOK_EVERY_S)
        yield state


async def _resume(record: RunRecord, since: int, options: RunOptions, context: Context, state: State) -> RunEnd:
    journal = state.journal
    await state.call(lambda: _take_chain(state, record.root))
    orders = await state.call(lambda: journal.orders(record.root))
    prepared = _prepare_again(orders, record, since, options, Trigger.RESUME, context=context, state=state)
    await _take_lock(record.lock, prepared.settings.overlap, context, state)
    writable = _writable_reports(prepared, context, state)
    entries = {entry.index: entry for entry in prepared.selected}
    chain = await state.call(lambda: journal.chain(record.root))
    prepared = replace(prepared, restored=restore_for_resume(entries, record.root, chain))
    _announce(prepared, record, context)
    _check_routes(prepared)
    steps = await state.call(lambda: journal.begin(prepared.record, orders, since=since))
    return await _execute(prepared, steps, writable, context, state)


async def _retry(record: RunRecord, since: int, request: EarlierRunRequest, context: Context, state: State) -> RunEnd:
    orders, chain = await state.call(lambda: _read_chain(state, record.root))
    wanted = _wanted(record, chain, orders.manifest, request)
    prepared = _prepare_again(orders, record, since, request.options, Trigger.RETRY, context=context, state=state)
    await _take_lock(record.lock, prepared.settings.overlap, context, state)
    selected = tuple(e for e in prepared.selected if e.index in wanted)
    is_part = len(selected) < len(prepared.selected)
    prepared = replace(
        prepared,
        selected=selected,
        stated=replace(prepared.stated, select=None) if is_part else prepared.stated,
        restored=restore_for_retry({e.index: e for e in selected}, record.root, chain, wanted),
        # the first run's report stays as it is: it holds targets that this run does not
        reports=report_paths(request.options.report, default=RETRY_REPORT),
        named=bool(request.options.report),
    )
    writable = _writable_reports(prepared, context, state)
    _announce(prepared, record, context)
    steps = await state.call(lambda: _begin(prepared, state, instead_of=[one.root for one in chain]))
    return await _execute(prepared, steps, writable, context, state)


async def _continue_key(request: RunRequest, since: int, context: Context, state: State) -> RunEnd | None:
    """Continue or retry the latest run with the request's key; return None if a new run is to be started.

    The decision holds if no other run with the key has begun after the run with the number `since`: the transaction in which
    the run begins checks that, also if this process has lost the key's lock meanwhile.
    """
    assert request.key is not None
    record = await state.call(partial(state.journal.latest_with_key, request.key))
    if record is None:
        return None
    if await state.call(partial(is_resumable, record, state)):
        return await _resume(record, since, request.options, context, state)
    try:
        return await _retry(record, since, EarlierRunRequest(run=record.id, options=request.options), context, state)
    except NothingToDo:
        return None


def report_paths(named: Sequence[str] | None, *, default: str) -> tuple[str, ...]:
    """Return the absolute paths of reports: those that were named; for None the default one in the working directory."""
    return tuple(str(Path(path).absolute()) for path in ((default,) if named is None else named))


def selection_of(request: RunRequest, followed: FollowedChange | None) -> tuple[str, ...]:
    """Return what is selected from a manifest, in words; with the manifest's identity it makes the run's lock."""
    selection = [*(f"select {word}" for word in request.select), *(f"exclude {word}" for word in request.exclude)]
    if followed is not None:
        # a run that was cut off follows its own change, and no run that follows another one continues it
        selection.append(f"touched {fingerprint(followed)}")
    return tuple(selection)


def _writable_reports(prepared: PreparedRun, context: Context, state: State) -> tuple[str, ...]:
    """Return the report paths that can be written. Raises `UsageError` for an output that would replace something else."""
    outputs = [*report_files(prepared.reports)]
    if prepared.metrics is not None:
        outputs.append(NamedFile("the metrics file", prepared.metrics))
    if context.log_file is not None:
        outputs.append(NamedFile("the log file", context.log_file))
    if summary := context.environ.get("GITHUB_STEP_SUMMARY"):
        outputs.append(NamedFile("the job summary", summary))
    inputs = (*manifest_files(prepared.manifest), *prepared.inputs)
    check_destinations(outputs, inputs=inputs, state=state.folder)
    return check_reports(prepared.reports, context.observe, named=prepared.named, simulated=prepared.simulated)


async def _take_lock(name: str, overlap: Overlap, context: Context, state: State) -> None:
    """Take a run's lock, as `--on-overlap` says.

    Raises `LockedError` that names the holder, and `StoppedWhileWaiting`.
    """
    if overlap is Overlap.PROCEED:
        return
    told_at = float("-inf")
    while (holder := await state.call(lambda: state.locks.take(name, since=state.clock.utcnow()))) is not None:
        if overlap is Overlap.FAIL:
            raise LockedError(
                f"{holder} works on the same manifest and selection; nothing was sent",
                code="run-locked",
                hint="to wait for it: --on-overlap wait",
            )
        if context.stop.requested:
            raise StoppedWhileWaiting(context.stop.signals[0])
        if state.clock.now() - told_at >= _REPORT_EVERY_S:
            told_at = state.clock.now()
            context.observe(RunWaiting(holder=str(holder)))
        await asyncio.sleep(_LOOK_EVERY_S)


def _begin(prepared: PreparedRun, state: State, *, instead_of: Sequence[str] = ()) -> Steps:
    """Write to the journal that a run with a plan of its own begins."""
    # another working directory finds the files of keys and certificates, too
    instances = {name: instance.with_absolute_files() for name, instance in prepared.manifest.instances.items()}
    orders = StoredRequest(
        manifest=replace(prepared.manifest, instances=instances),
        selected=tuple(entry.index for entry in prepared.selected),
        settings=as_data(prepared.settings),
        reports=prepared.reports,
        named=prepared.named,
        rate=prepared.rate,
        metrics=prepared.metrics,
        touched=None if prepared.followed is None else change_as_data(prepared.followed),
        stated=as_data(prepared.stated),
        select=prepared.selector.include,
        exclude=prepared.selector.exclude,
    )
    _check_routes(prepared)
    take_root(state, prepared.record.root)
    targets = new_targets(prepared.selected, prepared.restored.prior)
    return state.journal.begin(prepared.record, orders, targets, instead_of=instead_of, since=prepared.since)


def _check_routes(prepared: PreparedRun) -> None:
    """Check proxies and certificates before there is a run. Raises `UsageError` for one that cannot be used."""
    if prepared.simulated:
        return
    for name in dict.fromkeys(entry.instance for entry in prepared.selected if entry.enabled):
        instance = prepared.manifest.instances[name]
        route_to(instance.base_url)
        if instance.base_url.startswith("https:"):
            make_tls_context(instance)


async def _execute(
    prepared: PreparedRun, steps: Steps, writable: Sequence[str], context: Context, state: State
) -> RunEnd:
    # the HTTP client takes long to import: not before it is clear that there is anything to do
    from orchestrator.app.execute import execute

    return await execute(prepared, steps, writable, context, state)


def _prepare_again(
    orders: StoredRequest,
    record: RunRecord,
    since: int,
    options: RunOptions,
    trigger: Trigger,
    *,
    context: Context,
    state: State,
) -> PreparedRun:
    """Return an earlier run's request, its keys read again, with the options that are given now."""
    manifest = _with_keys(orders.manifest, context)
    entries: dict[int, Entry] = {entry.index: entry for entry in manifest.entries}
    return PreparedRun(
        record=NewRun(
            id=state.run,
            root=record.root if trigger is Trigger.RESUME else state.run,
            origin=record.id,
            trigger=trigger.value,
            manifest_path=record.manifest_path,
            manifest_file=record.manifest_file,
            manifest_identity=record.manifest_identity,
            manifest_sha256=record.manifest_sha256,
            lock=record.lock,
            began_at=state.clock.utcnow(),
            directory=working_directory(),
            key=record.key,
        ),
        since=since,
        manifest=manifest,
        selected=tuple(entries[index] for index in orders.selected),
        selector=Selector(manifest, orders.select, orders.exclude, lenient=True),
        # a run that was detached is followed to its end, unless this process must detach, too
        settings=from_data(RunSettings, {**orders.settings, "detach": Detach.NEVER.value, **options.settings}),
        reports=orders.reports if options.report is None else report_paths(options.report, default=""),
        named=bool(options.report) or orders.named,
        rate=options.rate if options.rate is not None else orders.rate,
        metrics=metrics_path(options.metrics_file or orders.metrics),
        warnings=_manifest_changed(record, context),
        followed=None if orders.touched is None else change_from_data(orders.touched),
        stated=from_data(StatedRequest, orders.stated),
    )


def _manifest_changed(record: RunRecord, context: Context) -> tuple[str, ...]:
    """Return a warning if the manifest is no longer what the run was planned from."""
    try:
        now = hashlib.sha256(read_input(record.manifest_file, MAX_BYTES)).hexdigest()
    except (OSError, ValueError):
        return ()
    if now == record.manifest_sha256:
        return ()
    context.observe(ManifestChanged(manifest=record.manifest_path))
    return ("the manifest changed since this run was planned; the original plan was used",)


def _announce(prepared: PreparedRun, record: RunRecord, context: Context) -> None:
    """Report which run of which manifest is continued, and what will be sent, before the first call."""
    before = prepared.restored.prior
    to_check = {
        target.entry.index
        for active in before.active_refreshes
        for target in (active.refresh.sender, *active.refresh.covered)
    }
    to_send = [e for e in prepared.selected if e.index not in before.outcomes and e.index not in to_check]
    context.observe(
        RunContinued(
            run_id=prepared.record.id,
            origin=record.id,
            trigger=prepared.record.trigger,
            manifest=record.manifest_path,
            targets=record.targets,
            to_send=len(to_send),
            to_check=len(to_check),
        )
    )


def _with_keys(manifest: Manifest, context: Context) -> Manifest:
    """Return the manifest with its keys read again from where they were read then. Raises `UsageError`."""
    instances = {}
    for name, instance in manifest.instances.items():
        keys = []
        for key in instance.keys:
            secret = api_key_again(key.source, context.environ)
            context.redactor.add(secret)
            keys.append(ApiKey(source=key.source, secret=secret))
        instances[name] = replace(instance, keys=tuple(keys))
    return replace(manifest, instances=instances, notify=reread_notices(manifest, context))


def _take_chain(state: State, root: str) -> None:
    """Lock a run and the first run of its chain of retries: each relies on the last results of the others."""
    for one in dict.fromkeys((state.journal.chain(root)[0].root, root)):
        take_root(state, one)


def _wanted(
    record: RunRecord, chain: Sequence[RootRecord], manifest: Manifest, request: EarlierRunRequest
) -> frozenset[int]:
    """Return the positions of the targets to retry."""
    positions = wanted_by_retry(record.root, chain)
    left = [t for one in chain if one.root == record.root for t in one.targets if t.position in positions]
    if not record.targets:
        raise NothingToDo("retry", f"run {record.id} had no targets")
    if not left:
        raise NothingToDo("retry", f"every target of run {record.id} is good")
    selected = {e.index for e in Selector(manifest, request.select, request.exclude).select()}
    wanted = frozenset(t.position for t in left if t.position in selected)
    if not wanted:
        names = some([t.name for t in left], at_most=_NAMES_SHOWN)
        words = f"the selection leaves nothing to retry in run {record.id}; what did not succeed: {names}"
        if request.allow_empty:
            raise NothingToDo("retry", words)
        raise nothing_selected(f"{words}. Nothing was sent")
    return wanted


def _read_chain(state: State, root: str) -> tuple[StoredRequest, tuple[RootRecord, ...]]:
    """Lock a run and its chain of retries; return its request, and the chain."""
    _take_chain(state, root)
    journal = state.journal
    return _with_found_branches(journal.orders(root), root, journal.chain(root), journal)


def _with_found_branches(
    orders: StoredRequest, root: str, chain: tuple[RootRecord, ...], journal: Journal
) -> tuple[StoredRequest, tuple[RootRecord, ...]]:
    """Return what a run was told to do, and its chain, with the branches that a later retry found for a branch pattern.

    The run itself ended before they were known.
    """
    found: dict[int, tuple[Entry, ...]] = {}
    rows: dict[int, tuple[StoredTarget, ...]] = {}
    for entry in (e for e in orders.manifest.entries if e.has_branch_pattern and e.index in orders.selected):
        positions = range(entry.index + 1, entry.index + 1 + entry.max_branches)
        for other in chain:
            if other.root != root and (mine := [row for row in other.targets if row.position in positions]):
                known = {e.index: e for e in journal.orders(other.root).manifest.entries}
                rows[entry.index] = tuple(replace(row, outcome=None) for row in mine)
                found[entry.index] = tuple(known[row.position] for row in mine)
    if not found:
        return orders, chain
    joined = (
        replace(one, targets=tuple(row for old in one.targets for row in rows.get(old.position, (old,))))
        if one.root == root
        else one
        for one in chain
    )
    return with_branches(orders, found), tuple(joined)
