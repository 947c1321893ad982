"""A machine on which runs are killed and resumed, in virtual time: a state folder on disk, simulated instances that
continue, and runs over the real stack.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Self

from orchestrator.clock import Clock
from orchestrator.engine.connection_lock import StoredConnectionLocks
from orchestrator.engine.outcome import Outcome, Status
from orchestrator.engine.recorder import JournalRecorder
from orchestrator.engine.restore import (
    NOTHING,
    Restored,
    is_open,
    new_targets,
    restore_for_resume,
    restore_for_retry,
    wanted_by_retry,
)
from orchestrator.engine.run import Run, RunResult
from orchestrator.engine.run_context import RunContext, RunSettings
from orchestrator.journal.database import JournalError, Transaction
from orchestrator.journal.journal import FILE, Journal
from orchestrator.journal.layout import JOURNAL
from orchestrator.journal.locks import Locks
from orchestrator.journal.moments import LocalMoment
from orchestrator.journal.processes import LocalProcess
from orchestrator.journal.records import NewRun, RootRecord, StoredRequest
from orchestrator.journal.sqlite import SqliteDatabase
from orchestrator.manifest.manifest import Manifest
from orchestrator.omni.client import OmniClient
from orchestrator.planning.followed_change import FollowedChange, change_as_data, change_from_data
from orchestrator.planning.selection import Selector
from orchestrator.quota.window import MemoryWindow
from orchestrator.simulator import virtual
from orchestrator.simulator.calls import Call
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator
from tests.rehearsal import Witness, read_manifest

Act = Callable[[Run], object]
"""What is done to a run when it is about to begin."""


@dataclass(slots=True)
class Death:
    """When a process dies: at its `at`-th commit (counted from 1), before it or after it. Never where `at` is 0.

    With `gives_way` the process lives on, and it is its journal that takes nothing any more from that commit on.
    """

    at: int = 0
    after: bool = False
    gives_way: bool = False
    commits: int = 0
    has_come: bool = False
    come: Callable[[], None] = lambda: None


class MortalDatabase(SqliteDatabase):
    """A database of a process that dies: then nothing can be written or read any more."""

    death: Death = Death()

    @contextmanager
    def write(
        self, *, soon: bool = False, busy_s: float | None = None, shared: bool = False, about: Collection[str] = ()
    ) -> Iterator[Transaction]:
        death = self.death
        if death.has_come:
            raise JournalError("dead", code="unusable-state")
        death.commits += 1
        if death.gives_way and death.commits >= death.at:
            raise JournalError("the disk is full", code="unusable-state")
        is_due = death.commits == death.at
        if is_due and not death.after:
            self._die()
        with super().write(soon=soon, busy_s=busy_s, shared=shared, about=about) as transaction:
            yield transaction
        if is_due:
            self._die()

    def _die(self) -> None:
        self.death.has_come = True
        self.death.come()
        raise JournalError("dead", code="unusable-state")


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A run that ended, or was killed (`result` None)."""

    id: str
    root: str
    commits: int
    result: RunResult | None
    witness: Witness

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """One for each target."""
        assert self.result is not None
        return self.result.outcomes

    @property
    def statuses(self) -> dict[str, Status]:
        """Each target's status by its name."""
        return {o.name: o.status for o in self.outcomes}

    def of(self, name: str) -> Outcome:
        """One target's outcome."""
        return next(o for o in self.outcomes if o.name == name)


class Machine:
    """Runs over one manifest and its simulated instance, on one state folder."""

    def __init__(self, folder: Path, manifest: str, scenario: Scenario) -> None:
        self.folder = folder
        self._text = manifest
        self._scenario = scenario
        self._stack = AsyncExitStack()
        self._count = 0
        self.families: dict[str, str] = {}
        """For each root the first root of its chain of retries: the user agent of all calls of that chain."""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.clock = Clock(loop.time, virtual.utcnow_of(loop))
        self.simulator = await self._stack.enter_async_context(Simulator(self._scenario, utcnow=self.clock.utcnow))
        self.manifest = self._at_home(read_manifest(self._text))
        return self

    async def __aexit__(self, *args: object) -> None:
        await self._stack.aclose()

    def _at_home(self, manifest: Manifest) -> Manifest:
        instances = {n: replace(i, base_url=self.simulator.url) for n, i in manifest.instances.items()}
        return replace(manifest, instances=instances)

    @property
    def calls(self) -> Sequence[Call]:
        """Every call that the instance saw, in all nights."""
        return self.simulator.calls

    @property
    def started(self) -> Sequence[Call]:
        """The refresh calls that started a job."""
        return [call for call in self.calls if call.accepted]

    async def run(
        self,
        *,
        manifest: str | None = None,
        death: Death | None = None,
        settings: RunSettings | None = None,
        boot: str = "",
        include: Sequence[str] = (),
        act: Act | None = None,
        touched: FollowedChange | None = None,
    ) -> Night:
        """A new run, which follows what was `touched`; killed at a `death`."""
        told = self.manifest if manifest is None else self._at_home(read_manifest(manifest))
        run = self._id()
        orders = StoredRequest(
            manifest=told,
            selected=tuple(e.index for e in Selector(told, include).select()),
            touched=None if touched is None else change_as_data(touched),
            select=tuple(include),
        )
        return await self._night(
            self._new(run, run, told),
            orders,
            recalled=NOTHING_RECALLED,
            death=death,
            settings=settings,
            boot=boot,
            act=act,
        )

    async def resume(
        self,
        root: str,
        *,
        death: Death | None = None,
        settings: RunSettings | None = None,
        boot: str = "",
        act: Act | None = None,
    ) -> Night:
        """Resume a run; it is killed at a `death`."""
        journal = self._journal(Death(), boot)
        orders = journal.orders(root)
        journal.close()
        orders = replace(orders, manifest=self._with_keys(orders.manifest))
        new = self._new(self._id(), root, orders.manifest)
        return await self._night(new, orders, death=death, settings=settings, boot=boot, act=act)

    async def retry(
        self, root: str, *, death: Death | None = None, settings: RunSettings | None = None, act: Act | None = None
    ) -> Night:
        """Retry what did not succeed."""
        journal = self._journal(Death(), "")
        orders, chain = journal.orders(root), journal.chain(root)
        wanted = wanted_by_retry(root, chain)
        manifest = self._with_keys(orders.manifest)
        entries = {e.index: e for e in manifest.entries if e.index in wanted}
        recalled = restore_for_retry(entries, root, chain, wanted)
        journal.close()
        run = self._id()
        orders = replace(orders, manifest=manifest, selected=tuple(sorted(wanted)))
        new = self._new(run, run, manifest, origin=root)
        past = [one.root for one in chain]
        return await self._night(
            new, orders, recalled=recalled, death=death, settings=settings, act=act, instead_of=past
        )

    def wanted(self, root: str) -> frozenset[int]:
        """The positions of a run's targets that a retry would take."""
        with closing(self._journal(Death(), "")) as journal:
            return wanted_by_retry(root, journal.chain(root))

    def unfinished(self) -> str | None:
        """The root of the latest run that can be resumed."""
        with closing(self._journal(Death(), "")) as journal:
            return next((r.root for r in journal.runs() if r.unfinished and r.targets), None)

    def models(self, root: str) -> frozenset[str]:
        """The ids of the models that a run's manifest names."""
        with closing(self._journal(Death(), "")) as journal:
            return frozenset(str(entry.model_id) for entry in journal.orders(root).manifest.entries)

    def chain(self, root: str) -> tuple[RootRecord, ...]:
        """What the journal knows of a run and of all that retried it."""
        with closing(self._journal(Death(), "")) as journal:
            return journal.chain(root)

    def _id(self) -> str:
        self._count += 1
        return f"night-{self._count}"

    def _new(self, run: str, root: str, manifest: Manifest, *, origin: str | None = None) -> NewRun:
        return NewRun(
            id=run,
            root=root,
            origin=origin,
            trigger="run",
            manifest_path=manifest.path,
            manifest_file=manifest.path,
            manifest_identity=manifest.identity,
            manifest_sha256=manifest.sha256,
            lock="lock",
            began_at=self.clock.utcnow(),
        )

    def _with_keys(self, stored: Manifest) -> Manifest:
        fresh = read_manifest(self._text)
        instances = {n: replace(i, keys=fresh.instances[n].keys) for n, i in stored.instances.items()}
        return replace(stored, instances=instances)

    def _journal(self, death: Death, boot: str) -> Journal:
        mortal = MortalDatabase.open(self.folder / FILE, JOURNAL)
        mortal.death = death
        return Journal(mortal, clock=self.clock, now=lambda: LocalMoment(self.clock.now(), boot))

    async def _night(
        self,
        new: NewRun,
        orders: StoredRequest,
        *,
        recalled: Restored | None = None,
        death: Death | None,
        settings: RunSettings | None,
        boot: str = "",
        act: Act | None,
        instead_of: Sequence[str] = (),
    ) -> Night:
        manifest = orders.manifest
        death = death or Death()
        family = self.families.setdefault(new.root, self.families.get(new.origin or "", new.root))
        clock, loop = self.clock, asyncio.get_running_loop()
        journal = self._journal(death, boot)
        owner = LocalProcess.enter(self.folder, run=new.id, since=clock.utcnow(), now=clock.now, boot=boot)
        witness, result = Witness(clock=clock.now), None
        known = {entry.index: entry for entry in manifest.entries}
        entries = {index: known[index] for index in orders.selected}
        try:
            if recalled is None:
                recalled = restore_for_resume(entries, new.root, journal.chain(new.root))
            if new.root == new.id:
                first = new_targets(entries.values(), recalled.prior)
                steps = journal.begin(new, orders, first, instead_of=instead_of)
            else:
                steps = journal.begin(new)
            base_urls = {name: i.base_url for name, i in manifest.instances.items()}
            recorder = JournalRecorder(
                steps,
                base_urls=base_urls,
                clock=clock,
                began_at=clock.now(),
                calls=recalled.calls,
                redact=str,
                observe=witness,
            )
            run = Run(
                manifest,
                tuple(entries.values()),
                RunContext(
                    clock=clock,
                    rng=Random(0),
                    observer=witness,
                    recorder=recorder,
                    open_client=lambda i: OmniClient(i, utcnow=clock.utcnow, user_agent=family, direct=True),
                    ledger=lambda i, _: MemoryWindow(i.rate_limit.per_s),
                    redact=str,
                    settings=settings or RunSettings(),
                    locks=StoredConnectionLocks(
                        Locks(owner), steps, base_urls=base_urls, clock=clock, taken=recalled.calls.values()
                    ),
                ),
                recalled.prior,
                change=None if orders.touched is None else change_from_data(orders.touched),
                selector=Selector(manifest, orders.select, orders.exclude, lenient=True),
            )

            def die() -> None:
                # nothing that the process does from now on can be seen, on disk or on the wire
                loop.call_soon(run.stop)
                loop.call_soon(run.stop)

            death.come = die
            if act is not None:
                act(run)
            result = await run.run()
            if not death.has_come and not death.gives_way:
                unfinished = any(map(is_open, result.outcomes))
                journal.finish(new.id, document={}, exit_code=0, unfinished=unfinished, counts={})
        except JournalError:
            if not death.has_come:
                raise
        finally:
            if death.has_come:
                # the locks of a dead process fall to others by themselves
                result = None
                owner.database.close()
                owner._lock.release()
            else:
                owner.leave()
            journal.close()
        return Night(id=new.id, root=new.root, commits=death.commits, result=result, witness=witness)


NOTHING_RECALLED = Restored(prior=NOTHING, calls={})


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A new folder in memory where there is such a file system: a test need not wait for the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def started_by_model(calls: Sequence[Call]) -> Mapping[str | None, int]:
    """How many jobs were started for each model."""
    counts: dict[str | None, int] = {}
    for call in calls:
        if call.accepted:
            counts[call.model_id] = counts.get(call.model_id, 0) + 1
    return counts
