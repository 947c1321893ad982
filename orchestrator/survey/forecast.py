"""What a plan will cost: calls by purpose, and the time, estimated from earlier runs and the budget. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.engine.verification import is_verified
from orchestrator.manifest.manifest import Instance
from orchestrator.planning.lanes import refreshes
from orchestrator.planning.plan import Lane, Refresh, RefreshPlan
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.time_left import Budget, LaneLeft, estimate_time_left


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One refresh: its place in the plan and in its lane, both counted from 1.

    The first refresh of a lane is sent as soon as the budget allows, each other one when the previous one has ended.
    """

    number: int
    turn: int
    lane: Lane
    refresh: Refresh


def make_steps(plan: RefreshPlan, *, known_s: Callable[[str, str], float | None]) -> tuple[Step, ...]:
    """Return all refreshes of a plan: the first ones of all lanes, then the second ones, and so on.

    Those with the longest earlier durations (`known_s` by instance and model id) come first, then the manifest's order.
    """
    found = [
        (turn, -(known_s(lane.instance, refresh.sender.model_id) or 0.0), refresh.sender.entry.index, lane, refresh)
        for lane in plan.lanes
        for turn, refresh in enumerate(refreshes(lane.targets, plan.manifest), 1)
    ]
    found.sort(key=lambda one: one[:3])
    return tuple(
        Step(number=number, turn=turn, lane=lane, refresh=refresh)
        for number, (turn, _, _, lane, refresh) in enumerate(found, 1)
    )


# Measured in virtual time with 60 to 1,000 models without history: 2.2 calls per model, one of which submits.
POLLS_A_JOB = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Calls by purpose, without retries, and the time in seconds (None: nothing is sent).

    `known` is the number of refreshes whose duration earlier runs show.
    """

    look_ups: int
    submits: int
    polls: int
    proofs: int
    time_s: float | None
    known: int

    @property
    def calls(self) -> int:
        """The number of all calls."""
        return self.look_ups + self.submits + self.polls + self.proofs


def make_forecast(
    steps: Sequence[Step],
    *,
    instances: Mapping[str, Instance],
    look_ups: Mapping[str, int],
    durations: Mapping[str, DurationModel],
) -> Forecast:
    """Return the forecast for a plan's steps. `look_ups` are the plan's own calls by instance: a run makes them again."""
    lanes: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    followed = known = 0
    last = {(step.lane.instance, step.lane.key): step.turn for step in steps}
    for step in steps:
        instance, model = step.lane.instance, step.refresh.sender.model_id
        calls = len(step.refresh.requests)
        known_s = durations[instance].known_s(model)
        lanes[instance][step.lane.key] += [durations[instance].typical_s if known_s is None else known_s] * calls
        known += known_s is not None
        is_followed = step.refresh.wait or step.turn < last[step.lane.instance, step.lane.key]
        followed += calls if is_followed else calls - 1
    times = [
        estimate_time_left(
            [LaneLeft(waiting_s=tuple(lane)) for lane in of_instance.values()],
            _budget(instances[name], look_ups.get(name, 0)),
        )
        for name, of_instance in lanes.items()
    ]
    return Forecast(
        look_ups=sum(look_ups.values()),
        submits=sum(len(step.refresh.requests) for step in steps),
        polls=math.ceil(POLLS_A_JOB * followed),
        proofs=sum(_proofs(step.refresh) for step in steps),
        # instances are refreshed in parallel
        time_s=max(times, default=None),
        known=known,
    )


def _budget(instance: Instance, used: int) -> Budget:
    limit = instance.rate_limit
    calls = limit.requests * max(1, len(instance.keys))
    return Budget(calls=calls, per_s=limit.per_s, used=(limit.per_s,) * min(used, calls))


def _proofs(refresh: Refresh) -> int:
    """Return how many reads verify the targets of a refresh.

    A read is shared by all its targets: a model's issues before and after, its views, or its schemas if the scope has no
    tables.
    """
    reads = set()
    for target in refresh.served:
        entry, place = target.entry, (target.model_id, target.branch_id)
        if entry.verify.compares_issues:
            reads |= {(place, f"{entry.verify} before"), (place, f"{entry.verify} after")}
        elif is_verified(entry):
            reads.add((place, "views" if entry.tables else "schemas"))
    return len(reads)
