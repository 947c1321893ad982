"""How long this run's jobs take, all taken together: a distribution fitted to what polls show. Seconds throughout.

A job's end is never seen as it happens: a poll at age `b` that finds it finished, after one at age `a` that did not,
says that it took between `a` and `b`; a job that still runs says that it takes longer than its age.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

from orchestrator.quota.habits import SHORTEST_S, Habit

# The grid of ages: 4 % steps are finer than anything a poll can see.
_LONGEST_S = 7 * 86400.0
_STEPS = 360
_RATIO = (_LONGEST_S / SHORTEST_S) ** (1 / _STEPS)
EDGES: tuple[float, ...] = (0.0, *(SHORTEST_S * _RATIO**k for k in range(_STEPS + 1)))
"""The ages between the cells of a distribution."""

_PRIOR_JOBS = 1.5
# So many ends (and so many jobs that run) tell what a lognormal can know.
_EVIDENCE = 150


class Curve:
    """A distribution of durations on the grid: its survival and the integral of it, for constant-time questions."""

    __slots__ = ("_alive", "_area")

    def __init__(self, masses: Sequence[float]) -> None:
        total = sum(masses)
        gone = [0.0, *accumulate(m / total for m in masses)]
        self._alive = [max(0.0, 1.0 - g) for g in gone]
        self._alive[-1] = 0.0
        area = [0.0]
        for k in range(len(EDGES) - 1):
            area.append(area[-1] + (EDGES[k + 1] - EDGES[k]) * (self._alive[k] + self._alive[k + 1]) / 2)
        self._area = area

    def alive(self, age_s: float) -> float:
        """The share of jobs that last longer than `age_s`."""
        k, part = _cell(age_s)
        return self._alive[k] + part * (self._alive[k + 1] - self._alive[k])

    def area(self, age_s: float) -> float:
        """The integral of `alive` from 0 to `age_s`."""
        k, part = _cell(age_s)
        width = EDGES[k + 1] - EDGES[k]
        ahead = self._alive[k] + part * (self._alive[k + 1] - self._alive[k])
        return self._area[k] + part * width * (self._alive[k] + ahead) / 2

    def quantile(self, share: float, *, after_s: float = 0.0) -> float:
        """The age by which `share` of the jobs that outlive `after_s` have ended."""
        goal = self.alive(after_s) * (1.0 - share)
        low, high = bisect_right(EDGES, after_s) - 1, len(EDGES) - 1
        while high - low > 1:
            mid = (low + high) // 2
            if self._alive[mid] > goal:
                low = mid
            else:
                high = mid
        drop = self._alive[low] - self._alive[high]
        part = (self._alive[low] - goal) / drop if drop > 0 else 1.0
        return max(after_s, EDGES[low] + min(1.0, max(0.0, part)) * (EDGES[high] - EDGES[low]))


def _cell(age_s: float) -> tuple[int, float]:
    if age_s <= 0.0:
        return 0, 0.0
    k = min(bisect_right(EDGES, age_s) - 1, len(EDGES) - 2)
    return k, min(1.0, (age_s - EDGES[k]) / (EDGES[k + 1] - EDGES[k]))


def masses_of(habit: Habit) -> list[float]:
    """The shares of a lognormal in each cell of the grid."""
    below = [1.0 - habit.alive(edge) for edge in EDGES]
    masses = [b - a for a, b in pairwise(below)]
    masses[-1] += max(0.0, 1.0 - below[-1])
    return masses


class Crowd:
    """This run's jobs taken together. `ended` and `running` are told of each poll; `curve` is fitted when asked for."""

    def __init__(self, prior: Sequence[float]) -> None:
        self._prior = prior
        self._ended: list[tuple[float, float]] = []
        self._alive: dict[object, float] = {}
        self._curve: Curve | None = None
        self._fitted_after = 0
        self._seen = 0

    def running(self, job: object, age_s: float) -> None:
        """A poll found `job` unfinished at `age_s`."""
        self._alive[job] = age_s
        self._seen += 1

    def ended(self, job: object, after_s: float, by_s: float) -> None:
        """A poll found `job` finished at age `by_s`; it was unfinished at `after_s`."""
        self._alive.pop(job, None)
        self._ended.append((after_s, max(by_s, after_s + 1e-6)))
        self._seen += 1

    @property
    def curve(self) -> Curve:
        """The fitted distribution; fitted anew once a tenth more polls were answered than at the last fit."""
        if self._curve is None or self._seen >= self._fitted_after:
            self._curve = self._fit()
            self._fitted_after = self._seen + max(1, self._seen // 10)
        return self._curve

    def habits(self, prior: Habit) -> list[tuple[float, Habit]]:
        """Which lognormals this run's jobs may follow, each with its weight: for what depends on all of them together,
        where a blurred average would make the longest of many jobs look far longer than any single belief does.
        """
        ended = self._ended[-_EVIDENCE:]
        running = sorted(self._alive.values())[-_EVIDENCE:]
        weighed = []
        for step in range(-12, 13):
            for sigma in (0.15, 0.3, 0.5, 0.7, 0.9, 1.2):
                habit = Habit(prior.median_s * math.exp(step * 0.3), sigma)
                log = -0.5 * (step * 0.3 / prior.sigma) ** 2
                log += sum(math.log(max(1e-9, habit.alive(a) - habit.alive(b))) for a, b in ended)
                log += sum(math.log(max(1e-9, habit.alive(a))) for a in running)
                weighed.append((log, habit))
        top = max(log for log, _ in weighed)
        return [(math.exp(log - top), habit) for log, habit in weighed if log > top - 12]

    def _fit(self) -> Curve:
        # a few hundred jobs tell all that a histogram can hold; the newest say most
        ended = [_span(a, b) for a, b in self._ended[-400:]]
        running = sorted(_span(0.0, age)[1] for age in self._alive.values())[-400:]
        masses = list(self._prior)
        for _ in range(4):
            gone = [0.0, *accumulate(masses)]
            total = gone[-1]
            # each job spreads its one unit of mass over what it may be, in the proportions believed so far;
            # the same share on every cell of a span is a step, so that a job costs two additions and not the span
            steps = [0.0] * (len(masses) + 1)
            for low, high in ended:
                share = 1.0 / max(gone[high] - gone[low], 1e-12)
                steps[low] += share
                steps[high] -= share
            for low in running:
                share = 1.0 / max(total - gone[low], 1e-12)
                steps[low] += share
                steps[-1] -= share
            masses = [
                _PRIOR_JOBS * prior + mass * share
                for prior, mass, share in zip(self._prior, masses, accumulate(steps), strict=False)
            ]
            scale = 1.0 / sum(masses)
            masses = [m * scale for m in masses]
        return Curve(masses)


def _span(after_s: float, by_s: float) -> tuple[int, int]:
    """The grid's cells that an interval touches, as a half-open range with at least one cell."""
    low = _cell(after_s)[0]
    return low, max(low + 1, _cell(by_s)[0] + 1)
