"""A lane's gate: refreshes of one connection never overlap, not even those of other runs on this machine.

It is entered at the moment when a refresh call leaves, and left when the job has ended. A refresh waits at the gate before
it asks for a turn at the door, so that it keeps no other lane from one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from orchestrator.clock import Clock
from orchestrator.engine.settings import Overlap
from orchestrator.journal.calls import JOB_LISTED_S
from orchestrator.journal.connections import LaneNames, instance_address
from orchestrator.journal.locks import Locks, lane_prefix
from orchestrator.journal.records import CallStatus, OrphanedRefresh
from orchestrator.journal.steps import Steps
from orchestrator.planning.plan import Lane

_FIRST_LOOK_S = 0.1
_LONGEST_LOOK_S = 1.0

T = TypeVar("T")


class ConnectionLocks(Protocol):
    """Keeps the lanes' locks across runs. None of the methods waits."""

    def take(self, lane: Lane) -> str | None:
        """Take a lane; None if it is ours now, else who has it."""

    def give_back(self, lane: Lane) -> None:
        """Let others have a lane again."""

    def holder(self, lane: Lane) -> str | None:
        """Who else has a lane now."""

    def left(self, lane: Lane) -> tuple[OrphanedRefresh, ...]:
        """Refreshes that may still run on a lane's connection and that nobody follows, oldest first."""

    def over(self, call: int, fate: CallStatus) -> None:
        """Keep what became of such a refresh."""

    def let_go(self, call: int) -> None:
        """A call of an earlier run is not continued any more."""


class NoLocks:
    """Every lane is free: for a run without state."""

    def take(self, lane: Lane) -> str | None:
        """It is ours."""
        del lane
        return None

    def give_back(self, lane: Lane) -> None:
        """It is free."""

    def holder(self, lane: Lane) -> str | None:
        """Nobody has it."""
        del lane
        return None

    def left(self, lane: Lane) -> tuple[OrphanedRefresh, ...]:
        """Nobody left any."""
        del lane
        return ()

    def over(self, call: int, fate: CallStatus) -> None:
        """There is nothing to keep."""

    def let_go(self, call: int) -> None:
        """There is nothing to keep."""


class ConnectionBusy(Exception):
    """Another run was quicker, or a refresh that another run left must be checked first; the call has not left."""


class ConnectionLock:
    """One lane's gate in this run. `over` is set when nothing more is submitted; `waits` is told once for each reason whom
    or what the lane waits for, and for how many seconds at most (None: until the other run is done).
    """

    def __init__(
        self,
        keeper: ConnectionLocks,
        *,
        lane: Lane,
        overlap: Overlap,
        over: asyncio.Event,
        waits: Callable[[str, float | None], None],
    ) -> None:
        self._keeper = keeper
        self._lane = lane
        self._overlap = overlap
        self._over = over
        self._waits = waits
        self._is_ours = False
        self._told: set[str] = set()
        self._passed: set[int] = set()
        self._unpollable: set[int] = set()

    async def wait(self) -> tuple[OrphanedRefresh, ...]:
        """Wait until no other run has the lane and nothing that cannot be checked may run on it, or until nothing more is
        submitted anyway. Returns the jobs that must be checked first; the lane is ours while that is done.
        """
        look_s = _FIRST_LOOK_S
        while not self._over.is_set():
            holder = None if self._is_ours else self._keeper.holder(self._lane)
            if holder is not None:
                self._tell(holder, None)
            else:
                left = self._left()
                jobs = tuple(one for one in left if one.job_id is not None)
                if not left or (jobs and self.try_enter()):
                    return jobs
                if not jobs:
                    # there is nothing to do here but to wait: whoever may go ahead shall find the lane free
                    self.leave()
                    longest = max(left, key=lambda one: one.closed_s)
                    self._tell(f"a refresh of run {longest.run} whose end is not known", longest.closed_s)
                    look_s = min(look_s, max(0.001, min(one.closed_s for one in left)))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), look_s)
            look_s = min(_LONGEST_LOOK_S, look_s * 1.5)
        return ()

    async def unless_over(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do `work` until nothing more is submitted; None if that came first."""
        task, over = asyncio.ensure_future(work), asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            over.cancel()
            await asyncio.gather(task, over, return_exceptions=True)

    def checked(self, left: OrphanedRefresh, fate: CallStatus) -> None:
        """Keep how a refresh that another run left has ended, or that its job is out of sight."""
        self._keeper.over(left.call, fate)

    def cannot_check(self, left: OrphanedRefresh) -> None:
        """The job could not be followed: only the time can tell that it is over."""
        self._unpollable.add(left.call)

    def patience_s(self, left: OrphanedRefresh, timeout_s: float) -> float:
        """How long the lane waits for a job that another run left, before a refresh with this timeout."""
        if self._overlap is Overlap.WAIT:
            return JOB_LISTED_S
        return max(left.timeout_s, timeout_s)

    def still_runs(self, left: OrphanedRefresh) -> bool:
        """A job ran for longer than the lane waits; whether the lane stays closed for this run, as `--on-overlap` says."""
        if self._overlap is Overlap.PROCEED:
            self._passed.add(left.call)
        return self._overlap is Overlap.FAIL

    def tell(self, left: OrphanedRefresh, at_most_s: float) -> None:
        """Tell that a job that another run left is followed first."""
        self._tell(f"job {left.job_id} of run {left.run}", at_most_s)

    def let_go(self, call: int, fate: CallStatus | None = None) -> None:
        """A call of an earlier run is not continued any more; `fate` is what was learned of it beyond what is kept."""
        if fate is not None:
            self._keeper.over(call, fate)
        self._keeper.let_go(call)

    def try_enter(self) -> bool:
        """Make the lane ours if it is free; whether it is ours."""
        if not self._is_ours:
            self._is_ours = self._keeper.take(self._lane) is None
        return self._is_ours

    def enter(self) -> None:
        """A refresh call is about to leave. Raises `ConnectionBusy` if it may not."""
        was_ours = self._is_ours
        if not self.try_enter() or (not was_ours and self._left()):
            raise ConnectionBusy

    def leave(self) -> None:
        """Nothing of this run runs on the lane any more."""
        if self._is_ours:
            self._is_ours = False
            self._keeper.give_back(self._lane)

    def _left(self) -> list[OrphanedRefresh]:
        left = []
        for found in self._keeper.left(self._lane):
            one = replace(found, job_id=None) if found.call in self._unpollable else found
            is_waited_for = one.job_id is not None or (self._overlap is not Overlap.PROCEED and one.closed_s > 0)
            if is_waited_for and one.call not in self._passed:
                left.append(one)
        return left

    def _tell(self, what: str, at_most_s: float | None) -> None:
        if what not in self._told:
            self._told.add(what)
            self._waits(what, at_most_s)


ANOTHER_LANE = "another lane of this run"


class StoredConnectionLocks:
    """A run's keeper. `base_urls` are those of the instances; `taken` are calls of earlier runs that this run continues.

    A lane holds every name under which its connection is known, all of them or none, so that two runs that know one
    connection by different names still exclude each other. So do two lanes of this run.
    """

    def __init__(
        self, locks: Locks, steps: Steps, *, base_urls: Mapping[str, str], clock: Clock, taken: Iterable[int] = ()
    ) -> None:
        self._locks = locks
        self._steps = steps
        self._addresses = {name: instance_address(url) for name, url in base_urls.items()}
        self._clock = clock
        self._taken = set(taken)
        self._held: dict[tuple[str, str], frozenset[str]] = {}

    def take(self, lane: Lane) -> str | None:
        """Take a lane; None if it is ours now, else who has it."""
        address = self._addresses[lane.instance]
        while True:
            names = self._names(lane)
            if self._meets_our_own(lane, names):
                return ANOTHER_LANE
            prefix, meets = lane_prefix(address), self._meets(address, names)
            holder = self._locks.take_names(prefix, names.held, meets, since=self._clock.utcnow())
            if holder is not None:
                return str(holder)
            if self._names(lane) == names:
                self._held[lane.instance, lane.key] = names.held
                return None
            # another run learned meanwhile what these names mean: its refresh may hold a name that was not checked
            self._locks.give_back_names(prefix, names.held)

    def give_back(self, lane: Lane) -> None:
        """Let others have a lane again."""
        names = self._held.pop((lane.instance, lane.key), None)
        if names is not None:
            self._locks.give_back_names(lane_prefix(self._addresses[lane.instance]), names)

    def holder(self, lane: Lane) -> str | None:
        """Who else has a lane now."""
        names, address = self._names(lane), self._addresses[lane.instance]
        if self._meets_our_own(lane, names):
            return ANOTHER_LANE
        holder = self._locks.holder_of_names(lane_prefix(address), self._meets(address, names))
        return None if holder is None else str(holder)

    def left(self, lane: Lane) -> tuple[OrphanedRefresh, ...]:
        """Refreshes that may still run on a lane's connection and that nobody follows, oldest first."""
        own = {target.entry.index for target in lane.targets}
        checked = self._names(lane).checked
        return self._steps.left_refreshes(self._addresses[lane.instance], checked, own=own, taken=self._taken)

    def over(self, call: int, fate: CallStatus) -> None:
        """Keep what became of a refresh that was left."""
        self._steps.left_over(call, fate)

    def let_go(self, call: int) -> None:
        """A call of an earlier run is not continued any more: if it may run, its lane is closed like any other's."""
        self._taken.discard(call)

    def _names(self, lane: Lane) -> LaneNames:
        return self._steps.connections.lane_names(self._addresses[lane.instance], lane.targets)

    def _meets(self, address: str, names: LaneNames) -> partial[frozenset[str]]:
        return partial(self._steps.connections.meeting, address, checked=names.checked)

    def _meets_our_own(self, lane: Lane, names: LaneNames) -> bool:
        address = self._addresses[lane.instance]
        return any(
            self._steps.connections.meeting(address, held, names.checked)
            for (instance, key), held in self._held.items()
            if (instance, key) != (lane.instance, lane.key) and self._addresses[instance] == address
        )
