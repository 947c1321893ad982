"""The lock of a connection: its refreshes never overlap, not even those of other runs that share the state.

A run takes the lock when a refresh call leaves, and releases it when the job has ended. A refresh waits for the lock before
it requests a permit, so that it delays no other lane.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from orchestrator.clock import Clock
from orchestrator.engine.run_context import Overlap
from orchestrator.journal.connections import Connections, LaneNames, instance_address
from orchestrator.journal.database import Database, Reader, StoreUnreachable
from orchestrator.journal.locks import Locks, lane_prefix, parts_of
from orchestrator.journal.processes import Holder
from orchestrator.journal.records import CallStatus, OrphanedRefresh
from orchestrator.journal.steps import JOB_LISTED_S, Steps
from orchestrator.planning.plan import Lane

ANOTHER_LANE = "another lane of this run"

_FIRST_LOOK_S = 0.1
_LONGEST_LOOK_S = 1.0
_LOOKS_AT_ONCE = 2

T = TypeVar("T")
_LaneId = tuple[str, str]


class ConnectionLocks:
    """The locks of a run's lanes. In this class every lane is free; `StoredConnectionLocks` excludes other runs.

    `take` and `look` return the holder if another one has the lane's lock, or why that is not known, and the refreshes that may
    still run on the lane's connection and that no run follows, oldest first. Neither waits for the lock.
    """

    async def take(self, lane: Lane) -> tuple[str | None, tuple[OrphanedRefresh, ...]]:
        """Take a lane's lock if it is free."""
        return await self.look(lane)

    async def look(self, lane: Lane) -> tuple[str | None, tuple[OrphanedRefresh, ...]]:
        """Take nothing."""
        del lane
        return None, ()

    def holds(self, lane: Lane) -> bool:
        """Return whether this run has a lane's lock for certain."""
        del lane
        return True

    def release(self, lane: Lane) -> None:
        """Release a lane's lock, if this run has it."""

    def orphan_ended(self, call: int, status: CallStatus) -> None:
        """Store how such a refresh ended."""

    def abandon(self, call: int) -> None:
        """A call of an earlier run is not continued any more: if it may run, its lane is closed like any other's."""


@dataclass(frozen=True, slots=True)
class _Held:
    """The names under which a lane's lock is held. `losses` is what the process had counted when it was taken."""

    names: frozenset[str]
    losses: int


class StoredConnectionLocks(ConnectionLocks):
    """Locks in the journal's store. `base_urls` are those of the instances; `taken` are calls of earlier runs that this run
    continues.

    A lane's lock covers every name by which its connection is known, all or none, so that two runs that know one connection
    by different names exclude each other. So do two lanes of this run. One transaction takes the lock and reads what other
    runs left on the connection: nothing can begin to run in between. A store on the network is used in the process's threads.
    """

    def __init__(
        self, locks: Locks, steps: Steps, *, base_urls: Mapping[str, str], clock: Clock, taken: Iterable[int] = ()
    ) -> None:
        self._locks = locks
        self._process = locks.process
        self._steps = steps
        self._addresses = {name: instance_address(url) for name, url in base_urls.items()}
        self._clock = clock
        self._taken = set(taken)
        self._held: dict[_LaneId, _Held] = {}
        # which lane holds a name of an address
        self._holders: dict[tuple[str, str], _LaneId] = {}
        # all names of each lane, as they were last read; a lane that can meet it has one of them
        self._names: dict[_LaneId, frozenset[str]] = {}
        self._unreleased: list[str] = []
        self._releasing = threading.Lock()
        self._looks = asyncio.Semaphore(_LOOKS_AT_ONCE)

    async def take(self, lane: Lane) -> tuple[str | None, tuple[OrphanedRefresh, ...]]:
        """Take a lane's lock if it is free."""
        return await self._ask(lane, self._take, reap_every_s=0.0)

    async def look(self, lane: Lane) -> tuple[str | None, tuple[OrphanedRefresh, ...]]:
        """Take nothing. Lanes that only look leave threads to calls that are about to leave."""
        async with self._looks:
            return await self._ask(lane, self._look, reap_every_s=0.2)

    def holds(self, lane: Lane) -> bool:
        """Return whether this run has a lane's lock for certain: not if the store has lost rows since it was taken, or if
        other processes may count this one as dead.
        """
        held = self._held.get(_id(lane))
        return held is not None and held.losses == self._process.losses and self._process.may_send()

    async def _ask(
        self, lane: Lane, act: Callable[[Lane, Database], _Seen], *, reap_every_s: float
    ) -> tuple[str | None, tuple[OrphanedRefresh, ...]]:
        def answer(database: Database) -> _Seen:
            self._release_late(database)
            self._steps.flush()
            seen = act(lane, database)
            if isinstance(seen.holder, Holder) and self._process.reap_dead(every_s=reap_every_s, database=database):
                # a holder that is dead holds nothing
                seen = act(lane, database)
            return seen

        try:
            seen = await self._process.ask(answer)
        except StoreUnreachable as error:
            return str(error), ()
        return None if seen.holder is None else str(seen.holder), seen.orphans

    def _take(self, lane: Lane, database: Database) -> _Seen:
        prefix, since, losses = lane_prefix(self._addresses[lane.instance]), self._clock.utcnow(), self._process.losses
        if _id(lane) not in self._names:
            self._look(lane, database)
        if self._drop(lane):
            self._release_late(database)
        try:
            with database.write(about=parts_of(prefix, self._names[_id(lane)])) as transaction:
                seen = self._see(lane, transaction)
                if seen.holder is None:
                    self._locks.take_names(transaction, prefix, seen.names.held, since=since)
                    # before the commit: another lane of this run may look as soon as the transaction ends
                    self._hold(lane, _Held(seen.names.held, losses))
        except BaseException:
            self._drop(lane)
            raise
        if seen.holder is None:
            self._locks.hold_names(prefix, seen.names.held, since=since)
        return seen

    def _look(self, lane: Lane, database: Database) -> _Seen:
        with database.view() as reader:
            return self._see(lane, reader)

    def _see(self, lane: Lane, reader: Reader) -> _Seen:
        """Return a lane's names, who else holds one of them, and the refreshes that may still run under them."""
        address, journal = self._addresses[lane.instance], self._steps.reader_in(reader)
        connections = Connections(journal)
        names = connections.lane_names(address, lane.targets)
        self._names[_id(lane)] = names.held | names.checked
        may_meet = connections.may_meet(address, names.checked)
        meets = partial(connections.meeting, address, checked=names.checked)
        if meets(name for name in may_meet if self._holders.get((address, name), _id(lane)) != _id(lane)):
            return _Seen(names, ANOTHER_LANE, ())
        holder = self._locks.holder_of_names(reader, lane_prefix(address), may_meet, meets)
        if holder is not None:
            return _Seen(names, holder, ())
        own = {target.entry.index for target in lane.targets}
        left = self._steps.left_refreshes(journal, address, may_meet, own=own, taken=self._taken)
        met = meets(name for refresh in left for name in refresh.names & may_meet)
        return _Seen(names, None, tuple(one for one in left if not met.isdisjoint(one.names)))

    def release(self, lane: Lane) -> None:
        """Release a lane's lock, if this run has it: in the background if the store is on the network."""
        if self._drop(lane):
            self._process.soon(self._release_late)

    def _hold(self, lane: Lane, held: _Held) -> None:
        address = self._addresses[lane.instance]
        self._held[_id(lane)] = held
        self._holders.update({(address, name): _id(lane) for name in held.names})

    def _drop(self, lane: Lane) -> bool:
        """Hold a lane's lock no more; its names are released with the next question to the store. False if it is not held."""
        held, address = self._held.pop(_id(lane), None), self._addresses[lane.instance]
        if held is None:
            return False
        for name in held.names:
            self._holders.pop((address, name), None)
        self._unreleased.extend(lane_prefix(address) + name for name in held.names)
        return True

    def _release_late(self, database: Database) -> None:
        """Release what is not held any more, before another lane of this run can take it."""
        with self._releasing:
            names = tuple(self._unreleased)
            if names:
                self._locks.give_back_names(database, names)
                del self._unreleased[: len(names)]

    def orphan_ended(self, call: int, status: CallStatus) -> None:
        """Store how such a refresh ended."""
        self._steps.left_over(call, status)

    def abandon(self, call: int) -> None:
        """A call of an earlier run is not continued any more: if it may run, its lane is closed like any other's."""
        self._taken.discard(call)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the store says of a lane."""

    names: LaneNames
    holder: str | Holder | None
    orphans: tuple[OrphanedRefresh, ...]


def _id(lane: Lane) -> _LaneId:
    return lane.instance, lane.key


class ConnectionBusy(Exception):
    """Another run took the lock first, or left a refresh that must be checked; the call has not left."""


class ConnectionLock:
    """The lock of one lane in this run.

    `submits_ended` is set when nothing more is submitted; `is_closed` returns whether the rate limiter permits no submit any
    more. `report_wait` is called once for each reason to wait: the holder or the job, and for how many seconds at most (None:
    until the other run is done).
    """

    def __init__(
        self,
        locks: ConnectionLocks,
        *,
        lane: Lane,
        overlap: Overlap,
        submits_ended: asyncio.Event,
        is_closed: Callable[[], bool],
        report_wait: Callable[[str, float | None], None],
    ) -> None:
        self._locks = locks
        self._lane = lane
        self._overlap = overlap
        self._submits_ended = submits_ended
        self._is_closed = is_closed
        self._report_wait = report_wait
        self._reported: set[str] = set()
        self._passed: set[int] = set()
        self._unpollable: set[int] = set()

    async def wait(self) -> tuple[OrphanedRefresh, ...]:
        """Wait until no other run has the lock and nothing that cannot be checked may run, or until submits have ended.

        They have also ended if the rate limiter is closed: the state may stay away, and then it cannot be known who has the
        lock.

        Returns the jobs that must be checked first; the lock is held meanwhile.
        """
        look_s = _FIRST_LOOK_S
        while not self._submits_ended.is_set() and not self._is_closed():
            holder, found = await self._locks.look(self._lane)
            orphans = self._waited_for(found)
            if holder is not None:
                self._report(holder, None)
            else:
                jobs = tuple(one for one in orphans if one.job_id is not None)
                if not orphans or (jobs and await self.try_take()):
                    return jobs
                if not jobs:
                    # only time can tell here: a run that may go ahead (--on-overlap proceed) needs the lock meanwhile
                    self.release()
                    longest = max(orphans, key=lambda one: one.closed_s)
                    self._report(f"a refresh of run {longest.run} whose end is not known", longest.closed_s)
                    look_s = min(look_s, max(0.001, min(one.closed_s for one in orphans)))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._submits_ended.wait(), look_s)
            look_s = min(_LONGEST_LOOK_S, look_s * 1.5)
        return ()

    async def until_submits_end(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of `work`; None if submits end first."""
        task, ended = asyncio.ensure_future(work), asyncio.ensure_future(self._submits_ended.wait())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            ended.cancel()
            await asyncio.gather(task, ended, return_exceptions=True)

    def checked(self, orphan: OrphanedRefresh, status: CallStatus) -> None:
        """Keep how a refresh that another run left has ended, or that its job is lost."""
        self._locks.orphan_ended(orphan.call, status)

    def cannot_check(self, orphan: OrphanedRefresh) -> None:
        """The job could not be followed: the lane waits until its timeout has passed."""
        self._unpollable.add(orphan.call)

    def patience_s(self, orphan: OrphanedRefresh, timeout_s: float) -> float:
        """Return how long the lane waits for an orphaned job before a refresh with this timeout, in seconds."""
        if self._overlap is Overlap.WAIT:
            return JOB_LISTED_S
        return max(orphan.timeout_s, timeout_s)

    def still_runs(self, orphan: OrphanedRefresh) -> bool:
        """A job ran for longer than the lane waits; return whether the lane stays closed, as `--on-overlap` says."""
        if self._overlap is Overlap.PROCEED:
            self._passed.add(orphan.call)
        return self._overlap is Overlap.FAIL

    def report_check(self, orphan: OrphanedRefresh, at_most_s: float) -> None:
        """Report that an orphaned job is followed first."""
        self._report(f"job {orphan.job_id} of run {orphan.run}", at_most_s)

    def abandon(self, call: int, status: CallStatus | None = None) -> None:
        """A call of an earlier run is not continued any more; `status` is what was learned of it and is not kept yet."""
        if status is not None:
            self._locks.orphan_ended(call, status)
        self._locks.abandon(call)

    async def try_take(self) -> bool:
        """Take the lock if it is free; return whether this lane has it."""
        if self._locks.holds(self._lane):
            return True
        holder, _ = await self._locks.take(self._lane)
        return holder is None

    async def take(self) -> None:
        """Take the lock for a refresh call that is about to leave, or make sure that it is still held.

        Raises `ConnectionBusy` if the call must not leave.
        """
        if self._locks.holds(self._lane):
            return
        holder, orphans = await self._locks.take(self._lane)
        if holder is not None or self._waited_for(orphans):
            raise ConnectionBusy

    def release(self) -> None:
        """Nothing of this run runs on the lane any more."""
        self._locks.release(self._lane)

    def _waited_for(self, orphans: Iterable[OrphanedRefresh]) -> list[OrphanedRefresh]:
        """Return those of the refreshes that another run left which this lane must wait for."""
        waited_for = []
        for found in orphans:
            one = replace(found, job_id=None) if found.call in self._unpollable else found
            must_wait = one.job_id is not None or (self._overlap is not Overlap.PROCEED and one.closed_s > 0)
            if must_wait and one.call not in self._passed:
                waited_for.append(one)
        return waited_for

    def _report(self, what: str, at_most_s: float | None) -> None:
        if what not in self._reported:
            self._reported.add(what)
            self._report_wait(what, at_most_s)
