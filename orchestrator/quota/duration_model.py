"""How long the jobs of each model take, learned from earlier runs. All values are in seconds.

A model without history has no estimate: `orchestrator.quota.choice` polls its jobs by one fixed rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

SHORTEST_S = 0.05
"""The shortest duration that the model distinguishes."""

# "Several minutes" is the documented class, and jobs of under a minute were seen: used until the first job has ended.
FIRST_GUESS_S = 45.0

_ROOT_HALF = math.sqrt(0.5)
_OUTLIVED = 0.01
_RECENCY = 0.8
_USUAL_SIGMA = 0.25
_USUAL_WEIGHT = 3.0
_KEPT_ENDS = 400


@dataclass(frozen=True, slots=True)
class DurationDistribution:
    """The durations of one model's jobs: a lognormal with this median (seconds) and this standard deviation of the logs."""

    median_s: float
    sigma: float

    def alive(self, age_s: float) -> float:
        """Return the share of jobs that last longer than `age_s`."""
        return 1.0 if age_s <= 0 else _normal_cdf((math.log(self.median_s) - math.log(age_s)) / self.sigma)

    def area(self, age_s: float) -> float:
        """Return the integral of `alive` from 0 to `age_s`: age times survival, plus the part of the mean below it."""
        if age_s <= 0:
            return 0.0
        mu, sigma = math.log(self.median_s), self.sigma
        z = (math.log(age_s) - mu) / sigma
        return age_s * _normal_cdf(-z) + math.exp(mu + sigma * sigma / 2) * _normal_cdf(z - sigma)

    def outlived(self, age_s: float) -> bool:
        """Return whether a job of this age is so late that the history says nothing about its end."""
        return self.alive(age_s) <= _OUTLIVED

    def unseen_s(self, age_s: float, unfinished_s: float) -> float:
        """Return the expected time since the job finished: the mean of (age - end)+, if it still ran at `unfinished_s`."""
        if age_s <= unfinished_s:
            return 0.0
        alive = self.alive(unfinished_s)
        if alive <= 1e-9:
            return age_s - unfinished_s
        return max(0.0, (age_s - unfinished_s) - (self.area(age_s) - self.area(unfinished_s)) / alive)


class DurationModel:
    """Estimates of the durations of all jobs of a run on one instance.

    `history` holds the earlier durations of each model in seconds, oldest first.
    """

    def __init__(self, history: Mapping[str, Sequence[float]] | None = None) -> None:
        self._models = fit(history or {})
        self._ends: list[float] = []

    def expect(self, model: str) -> DurationDistribution | None:
        """Return the estimate for the next (or running) job of `model`; None without history."""
        return self._models.get(model)

    def known_s(self, model: str) -> float | None:
        """Return how long a job of `model` usually takes, in seconds; None without history."""
        own = self._models.get(model)
        return None if own is None else own.median_s

    @property
    def typical_s(self) -> float:
        """How long a job without history takes, in seconds: as the jobs of this run, else as the histories, else a guess."""
        if self._ends:
            return median(self._ends)
        if self._models:
            return median(m.median_s for m in self._models.values())
        return FIRST_GUESS_S

    def ended(self, after_s: float, by_s: float) -> None:
        """Record that a poll found a job ended at the age `by_s`; it still ran at `after_s`."""
        self._ends.append((after_s + by_s) / 2)
        del self._ends[:-_KEPT_ENDS]


def fit(history: Mapping[str, Sequence[float]]) -> dict[str, DurationDistribution]:
    """Fit a lognormal to the earlier durations of each model (seconds, oldest first); recent ones count more.

    The spread is judged over all models together, because two or three runs of one model cannot show it. On a log scale
    one run of ten times the length counts as one odd run and not as nine.
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
        # a weighted median resists one odd run; with two runs the mean is better
        centre = _weighted_median(logs, weights) if len(logs) > 2 else fmean(logs, weights)
        spread = sum(w * min(1.0, (x - centre) ** 2) for x, w in zip(logs, weights, strict=True)) / total
        centred[name] = (centre, total, spread)
        if len(logs) > 1:
            scatter += spread * len(logs)
            freedom += len(logs) - 1
    usual = scatter / freedom
    fitted = {}
    for name, (centre, total, spread) in centred.items():
        own = (usual * 4 + spread * total) / (4 + total)
        fitted[name] = DurationDistribution(math.exp(centre), max(0.05, math.sqrt(own * (1 + 1 / total))))
    return fitted


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z * _ROOT_HALF)


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    half, total = 0.0, sum(weights)
    for value, weight in sorted(zip(values, weights, strict=True)):
        half += weight
        if half >= total / 2:
            return value
    return max(values)
