"""How long one model's jobs take, as its earlier runs show it, and how much today differs from then. Seconds throughout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist

SHORTEST_S = 0.05
"""Shorter than this no duration is told from another."""

_ROOT_HALF = math.sqrt(0.5)


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z * _ROOT_HALF)


@dataclass(frozen=True, slots=True)
class Habit:
    """What one model's own history says: a lognormal of this median (seconds) and spread (standard deviation of logs)."""

    median_s: float
    sigma: float

    def alive(self, age_s: float) -> float:
        """The share of its jobs that last longer than `age_s`."""
        return 1.0 if age_s <= 0 else _normal_cdf((math.log(self.median_s) - math.log(age_s)) / self.sigma)

    def area(self, age_s: float) -> float:
        """The integral of `alive` from 0 to `age_s`: age times survival plus the part of the mean below it."""
        if age_s <= 0:
            return 0.0
        mu, sigma = math.log(self.median_s), self.sigma
        z = (math.log(age_s) - mu) / sigma
        return age_s * _normal_cdf(-z) + math.exp(mu + sigma * sigma / 2) * _normal_cdf(z - sigma)

    def draw(self, after_s: float, rng: Random) -> float:
        """A duration (seconds) of a job that is known to have outlived `after_s`."""
        share = self.alive(after_s) * (1.0 - rng.random())
        if share < _FAR_TAIL:
            # out there the habit says nothing any more: what has lasted long lasts longer
            return after_s * math.exp(rng.expovariate(2.0))
        return max(after_s, self.median_s * math.exp(self.sigma * _NORMAL.inv_cdf(1.0 - share)))


_NORMAL = NormalDist()
_FAR_TAIL = 1e-6
_RECENCY = 0.8
_USUAL_SIGMA = 0.25
_USUAL_WEIGHT = 3.0


def make_habits(history: Mapping[str, Sequence[float]]) -> dict[str, Habit]:
    """Each model's habit from its earlier durations (seconds, oldest first); recent ones count more.

    How much a model's jobs scatter is judged over all models together, since one model's two or three runs cannot tell.
    Logs make one run of ten times the length count as one odd run and not as nine.
    """
    centred: dict[str, tuple[float, float, float]] = {}
    scatter = _USUAL_WEIGHT * _USUAL_SIGMA**2
    freedom = _USUAL_WEIGHT
    for name, durations in history.items():
        logs = [math.log(max(d, SHORTEST_S)) for d in durations[-12:] if d >= 0 and math.isfinite(d)]
        if not logs:
            continue
        weights = [_RECENCY ** (len(logs) - 1 - k) for k in range(len(logs))]
        total = sum(weights)
        # a weighted median is not thrown off by one odd run; the mean is better while there are only two
        centre = _weighted_median(logs, weights) if len(logs) > 2 else _mean(logs, weights)
        spread = sum(w * min(1.0, (x - centre) ** 2) for x, w in zip(logs, weights, strict=True)) / total
        centred[name] = (centre, total, spread)
        if len(logs) > 1:
            scatter += spread * len(logs)
            freedom += len(logs) - 1
    usual = scatter / freedom
    habits = {}
    for name, (centre, total, spread) in centred.items():
        own = (usual * 4 + spread * total) / (4 + total)
        habits[name] = Habit(math.exp(centre), max(0.05, math.sqrt(own * (1 + 1 / total))))
    return habits


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    half, total = 0.0, sum(weights)
    for value, weight in sorted(zip(values, weights, strict=True)):
        half += weight
        if half >= total / 2:
            return value
    return max(values)


class Drift:
    """By which factor this run's jobs take longer than their histories say: a posterior over a few factors."""

    _LOGS = tuple(k * 0.15 for k in range(-16, 17))

    def __init__(self) -> None:
        # most runs are like the ones before; a warehouse of another size is not rare, hence the heavy tails
        self._belief = [math.log(1.0 / (1.0 + (x / 0.12) ** 2)) for x in self._LOGS]
        self.factor = 1.0
        self.sigma = 0.0

    def learn(self, habit: Habit, after_s: float, by_s: float | None) -> None:
        """A job with `habit` was unfinished at `after_s` and finished at `by_s` (None: it still runs)."""
        for k, x in enumerate(self._LOGS):
            shifted = Habit(habit.median_s * math.exp(x), habit.sigma)
            late = shifted.alive(after_s)
            mass = late if by_s is None else late - shifted.alive(by_s)
            # one job in ten may do anything at all: no single job may move the belief by more
            self._belief[k] += math.log(0.9 * max(0.0, mass) + 0.1)
        top = max(self._belief)
        weights = [math.exp(b - top) for b in self._belief]
        total = sum(weights)
        mean = sum(x * w for x, w in zip(self._LOGS, weights, strict=True)) / total
        self.factor = math.exp(mean)
        self.sigma = math.sqrt(sum((x - mean) ** 2 * w for x, w in zip(self._LOGS, weights, strict=True)) / total)
