"""Begins runs: a new one, one that goes on with an earlier one, and one that tries again what did not succeed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.cli.aftermath import metrics_path, notices_again
from orchestrator.cli.choose_run import working_directory
from orchestrator.cli.deliver import DEFAULT_REPORT, RETRY_REPORT, check_reports
from orchestrator.cli.desk import Desk, take_lock
from orchestrator.cli.destinations import NamedFile, check_destinations, manifest_files, report_files
from orchestrator.cli.order import Begun, Order
from orchestrator.cli.state import State, take_root
from orchestrator.errors import UsageError
from orchestrator.input_file import read_input
from orchestrator.journal.locks import run_lock
from orchestrator.journal.steps import Steps
from orchestrator.journal.stored import NewRun, Orders, RootRecord, RunRecord
from orchestrator.journal.values import as_data, from_data
from orchestrator.log import Event, get_logger
from orchestrator.manifest.api_keys import api_key_again
from orchestrator.manifest.encoding import MAX_BYTES
from orchestrator.manifest.manifest import ApiKey, Entry, Manifest, absolute_path
from orchestrator.omni.proxy import route_to
from orchestrator.omni.trust import make_tls_context
from orchestrator.plan.selection import select
from orchestrator.plan.touched import touched_as_data, touched_from_data
from orchestrator.report.earlier import parse_row
from orchestrator.report.report import Trigger
from orchestrator.run.recall import Recalled, new_targets, recall_for_resume, recall_for_retry, wanted_by_retry
from orchestrator.run.settings import Settings

_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the command line says otherwise than the journal; None and empty: as the journal says.

    `settings` are fields of `Settings` by name. `include` and `exclude` narrow a retry.
    """

    settings: Mapping[str, object]
    reports: Sequence[str] = ()
    rate: int | None = None
    metrics: str | None = None
    as_json: bool = False
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()


def report_paths(named: Sequence[str], *, default: str = DEFAULT_REPORT) -> tuple[str, ...]:
    """Where reports go, absolute: those that were named, else the default one in the working directory."""
    return tuple(str(Path(path).absolute()) for path in named or (default,))


def launch(order: Order, desk: Desk) -> int:
    """Run something new; the exit code. Raises `LockedError` where another run is at work on the same."""
    state, manifest = desk.state, order.manifest
    paths = _check_outputs(order, desk)
    run = NewRun(
        id=state.run,
        root=state.run,
        origin=None,
        trigger=order.trigger.value,
        manifest_path=manifest.path,
        manifest_file=absolute_path(manifest.path),
        manifest_identity=manifest.identity,
        manifest_sha256=manifest.sha256,
        lock=lock_of(manifest, order.selection),
        began_at=state.clock.utcnow(),
        directory=working_directory(),
    )
    take_lock(desk, run.lock)
    return _begin(order, desk, Begun(run=run), paths)


def resume(record: RunRecord, desk: Desk, changes: Changes) -> int:
    """Go on with a run that was cut off; the exit code."""
    state, journal = desk.state, desk.state.journal
    _take_chain(state, record.root)
    take_lock(desk, record.lock)
    orders = journal.orders(record.root)
    order = _order_again(orders, record, changes, Trigger.RESUME, desk)
    paths = _check_outputs(order, desk)
    run = _new_run(record, state, Trigger.RESUME, root=record.root)
    entries = {entry.index: entry for entry in order.selected}
    recalled = recall_for_resume(entries, record.root, journal.chain(record.root), parse_row)
    _announce(run, record, order, recalled)
    _check_ways(order)
    steps = journal.begin(run)
    begun = Begun(run=run, recalled=recalled)
    return _conduct(order, begun, desk, steps, paths)


class NothingToRetry(Exception):
    """There is nothing to retry; the text says why."""


def retry(record: RunRecord, desk: Desk, changes: Changes, *, allow_empty: bool = False) -> int:
    """Start a new run over what did not succeed in an earlier one; the exit code.

    The newest result of each target decides, from whichever run in the chain of retries it comes.

    Raises NothingToRetry if all of it did. If only the selection leaves nothing: UsageError, or with `allow_empty`
    NothingToRetry.
    """
    state, journal = desk.state, desk.state.journal
    _take_chain(state, record.root)
    chain = journal.chain(record.root)
    orders = journal.orders(record.root)
    wanted = _wanted(record, chain, orders.manifest, changes, allow_empty=allow_empty)
    take_lock(desk, record.lock)
    order = _order_again(orders, record, changes, Trigger.RETRY, desk)
    order = replace(
        order,
        selected=tuple(e for e in order.selected if e.index in wanted),
        # the first run's report stays as it is: it holds targets that this run does not
        reports=report_paths(changes.reports, default=RETRY_REPORT),
        named=bool(changes.reports),
    )
    paths = _check_outputs(order, desk)
    entries = {entry.index: entry for entry in order.selected}
    run = _new_run(record, state, Trigger.RETRY, root=state.run)
    recalled = recall_for_retry(entries, record.root, chain, parse_row, wanted)
    _announce(run, record, order, recalled)
    return _begin(order, desk, Begun(run=run, recalled=recalled), paths, instead_of=[one.root for one in chain])


def _take_chain(state: State, root: str) -> None:
    """Be the only one at work on a run and on all that retry it: each of them relies on what the others did last."""
    for one in dict.fromkeys((state.journal.chain(root)[0].root, root)):
        take_root(state, one)


def _wanted(
    record: RunRecord, chain: Sequence[RootRecord], manifest: Manifest, changes: Changes, *, allow_empty: bool
) -> frozenset[int]:
    """The places of the targets to retry."""
    places = wanted_by_retry(record.root, chain, parse_row)
    left = [t for one in chain if one.root == record.root for t in one.targets if t.place in places]
    if not left:
        raise NothingToRetry(f"every target of run {record.id} is good")
    selected = {e.index for e in select(manifest, changes.include, changes.exclude)}
    wanted = frozenset(t.place for t in left if t.place in selected)
    if not wanted:
        names = ", ".join(t.name for t in left[:_NAMES_SHOWN])
        more = f" and {len(left) - _NAMES_SHOWN} more" if len(left) > _NAMES_SHOWN else ""
        words = f"the selection leaves nothing to retry in run {record.id}; what did not succeed: {names}{more}"
        if allow_empty:
            raise NothingToRetry(words)
        raise UsageError(f"{words}. Nothing was sent; --allow-empty makes that no error")
    return wanted


def _check_outputs(order: Order, desk: Desk) -> list[str]:
    """The report paths that can be written. Raises UsageError for an output that would replace something else."""
    outputs = [*report_files(order.reports)]
    if order.metrics is not None:
        outputs.append(NamedFile("the metrics file", order.metrics))
    if summary := desk.environ.get("GITHUB_STEP_SUMMARY"):
        outputs.append(NamedFile("the job summary", summary))
    check_destinations(outputs, inputs=(*manifest_files(order.manifest), *order.inputs), state=desk.state.folder)
    return check_reports(order.reports, named=order.named, simulated=order.simulated)


def _begin(order: Order, desk: Desk, begun: Begun, paths: Sequence[str], *, instead_of: Sequence[str] = ()) -> int:
    """Keep that a run with a plan of its own begins, then conduct it."""
    state = desk.state
    orders = Orders(
        manifest=_with_absolute_files(order.manifest),
        selected=tuple(entry.index for entry in order.selected),
        settings=as_data(order.settings),
        reports=tuple(order.reports),
        named=order.named,
        rate=order.rate,
        metrics=order.metrics,
        touched=None if order.touched is None else touched_as_data(order.touched),
    )
    _check_ways(order)
    take_root(state, begun.run.root)
    steps = state.journal.begin(
        begun.run,
        orders,
        new_targets(order.selected, begun.before),
        instead_of=instead_of,
    )
    return _conduct(order, begun, desk, steps, paths)


def _check_ways(order: Order) -> None:
    """Look at what leads to the instances before there is a run. Raises `UsageError` for certificates or proxies that cannot
    be used.
    """
    if order.scenario is not None:
        return
    for name in dict.fromkeys(entry.instance for entry in order.selected if entry.enabled):
        instance = order.manifest.instances[name]
        route_to(instance.base_url)
        if instance.base_url.startswith("https:"):
            make_tls_context(instance)


def _conduct(order: Order, begun: Begun, desk: Desk, steps: Steps, paths: Sequence[str]) -> int:
    # the client and its kin take their time to load: not before it is clear that there is anything to do
    from orchestrator.cli.conduct import conduct

    return conduct(order, begun, desk, steps, paths)


def _new_run(record: RunRecord, state: State, trigger: Trigger, *, root: str) -> NewRun:
    return NewRun(
        id=state.run,
        root=root,
        origin=record.id,
        trigger=trigger.value,
        manifest_path=record.manifest_path,
        manifest_file=record.manifest_file,
        manifest_identity=record.manifest_identity,
        manifest_sha256=record.manifest_sha256,
        lock=record.lock,
        began_at=state.clock.utcnow(),
        directory=working_directory(),
    )


def _order_again(orders: Orders, record: RunRecord, changes: Changes, trigger: Trigger, desk: Desk) -> Order:
    """The order of an earlier run, its keys read again, with what the command line says otherwise."""
    manifest = _with_keys(orders.manifest, desk)
    entries: dict[int, Entry] = {entry.index: entry for entry in manifest.entries}
    settings = from_data(Settings, {**orders.settings, **changes.settings})
    return Order(
        manifest=manifest,
        selected=tuple(entries[index] for index in orders.selected),
        settings=settings,
        reports=report_paths(changes.reports) if changes.reports else orders.reports,
        named=bool(changes.reports) or orders.named,
        as_json=changes.as_json,
        rate=changes.rate if changes.rate is not None else orders.rate,
        trigger=trigger,
        warnings=_changed(record),
        metrics=metrics_path(changes.metrics or orders.metrics),
        touched=None if orders.touched is None else touched_from_data(orders.touched),
    )


def _changed(record: RunRecord) -> tuple[str, ...]:
    """A warning where the manifest is not any more what the run was planned from."""
    try:
        now = hashlib.sha256(read_input(record.manifest_file, MAX_BYTES)).hexdigest()
    except (OSError, ValueError):
        return ()
    if now == record.manifest_sha256:
        return ()
    get_logger().warning(Event.MANIFEST_CHANGED, manifest=record.manifest_path)
    return ("the manifest has changed since this run was planned: it went on as it was planned then",)


def _announce(run: NewRun, record: RunRecord, order: Order, recalled: Recalled) -> None:
    """Log which run of which manifest is continued, and what will be sent, before the first call."""
    kept = recalled.before.outcomes
    to_check = {
        target.entry.index
        for underway in recalled.before.underway
        for target in (underway.refresh.sender, *underway.refresh.covered)
    }
    to_send = [e for e in order.selected if e.index not in kept and e.index not in to_check]
    get_logger().info(
        Event.RUN_CONTINUED,
        trigger=run.trigger,
        manifest=record.manifest_path,
        of_run=record.id,
        targets=record.targets,
        to_send=len(to_send),
        to_check=len(to_check),
    )


def _with_keys(manifest: Manifest, desk: Desk) -> Manifest:
    """The manifest with its keys read again from where they were read then. Raises `UsageError`."""
    instances = {}
    for name, instance in manifest.instances.items():
        keys = []
        for key in instance.keys:
            secret = api_key_again(key.source, desk.environ)
            desk.redactor.add(secret)
            keys.append(ApiKey(source=key.source, secret=secret))
        instances[name] = replace(instance, keys=tuple(keys))
    return replace(manifest, instances=instances, notify=notices_again(manifest, desk))


def _with_absolute_files(manifest: Manifest) -> Manifest:
    """Keys and certificates are found again from another working directory."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    instances = {
        name: replace(
            i,
            ca_file=absolute(i.ca_file),
            keys=tuple(replace(k, source=replace(k.source, file=absolute(k.source.file))) for k in i.keys),
        )
        for name, i in manifest.instances.items()
    }
    return replace(manifest, instances=instances)


def lock_of(manifest: Manifest, selection: Sequence[str]) -> str:
    """Return the lock of a manifest and of what was selected from it."""
    return run_lock(manifest.identity, selection)
