"""Keeps the locks of a run's lanes, among the runs of this machine, and knows what other runs left on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from orchestrator.clock import Clock
from orchestrator.journal.connections import LaneNames, instance_address
from orchestrator.journal.locks import Locks, lane_prefix
from orchestrator.journal.records import CallStatus, OrphanedRefresh
from orchestrator.journal.steps import Steps
from orchestrator.planning.plan import Lane

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
