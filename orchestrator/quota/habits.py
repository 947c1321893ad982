"""How long jobs take, as far as is known: what earlier runs showed, what this run has shown so far, and what is usual.

A job's end is never seen as it happens: a poll at age `b` that finds it finished, after one at age `a` that did not,
says that it took between `a` and `b`. Both kinds of knowledge here take exactly such intervals.

`Crowd` is the distribution of this run's jobs taken together: a histogram over log-spaced ages, fitted to intervals and
to jobs that still run (Turnbull's self-consistent estimate), softened by a prior of a few imagined jobs. `Drift` is how
much this run's jobs take longer or shorter than their own history. All durations are in seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from statistics import NormalDist

# The grid of ages: 2 % steps are finer than anything a poll can see.
_SHORTEST_S = 0.05
_LONGEST_S = 7 * 86400.0
_STEPS = 360
_RATIO = (_LONGEST_S / _SHORTEST_S) ** (1 / _STEPS)
EDGES: tuple[float, ...] = (0.0, *(_SHORTEST_S * _RATIO**k for k in range(_STEPS + 1)))

# "Several minutes" is the documented class; seen were jobs of under a minute: 22 times the usual finest poll of 2 s.
# A wide prior lets either be learned soon; a manifest that polls finer means a faster clock (the simulator's).
_PRIOR_MEDIAN = 22.5
_PRIOR_SIGMA = 1.5
_PRIOR_JOBS = 1.5
# So many ends (and so many jobs that run) tell what a lognormal can know.
_EVIDENCE = 150

_ROOT_HALF = math.sqrt(0.5)


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z * _ROOT_HALF)


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


def _lognormal_masses(median_s: float, sigma: float) -> list[float]:
    below = [_normal_cdf(math.log(edge / median_s) / sigma) if edge > 0 else 0.0 for edge in EDGES]
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
        logs = [math.log(max(d, _SHORTEST_S)) for d in durations[-12:] if d >= 0 and math.isfinite(d)]
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


_OWN_WEIGHT = 0.9


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is believed of one job's duration: its own habit where it has one, mixed with the crowd for surprises."""

    crowd: Curve
    own: Habit | None = None

    def alive(self, age_s: float) -> float:
        """The probability that the job lasts longer than `age_s`."""
        crowd = self.crowd.alive(age_s)
        return crowd if self.own is None else _OWN_WEIGHT * self.own.alive(age_s) + (1 - _OWN_WEIGHT) * crowd

    def _area(self, age_s: float) -> float:
        crowd = self.crowd.area(age_s)
        return crowd if self.own is None else _OWN_WEIGHT * self.own.area(age_s) + (1 - _OWN_WEIGHT) * crowd

    def unseen_s(self, age_s: float, unfinished_s: float) -> float:
        """The expected time since the job finished unseen: the mean of (age − end)+, given unfinished at `unfinished_s`."""
        if age_s <= unfinished_s:
            return 0.0
        alive = self.alive(unfinished_s)
        if alive <= 1e-9:
            return age_s - unfinished_s
        return max(0.0, (age_s - unfinished_s) - (self._area(age_s) - self._area(unfinished_s)) / alive)

    @property
    def median_s(self) -> float:
        """A single number for the duration: the habit's median, else the crowd's."""
        return self.own.median_s if self.own is not None else self.crowd.quantile(0.5)


class Durations:
    """What is known of all jobs of a run on one instance; hands out an `Expectation` for each model.

    `history` holds each model's earlier durations in seconds, oldest first; `grain_s` is the finest poll that is asked
    for, the only hint at a time scale before anything has ended.
    """

    def __init__(self, history: Mapping[str, Sequence[float]] | None = None, *, grain_s: float = 2.0) -> None:
        self._habits = make_habits(history or {})
        self._guess = _guess(self._habits, grain_s)
        self.crowd = Crowd(_prior_masses(self._habits, grain_s))
        self.drift = Drift()

    def expect(self, model: str) -> Expectation:
        """What is believed now of the next (or running) job of `model`."""
        own = self._habits.get(model)
        if own is not None:
            own = Habit(own.median_s * self.drift.factor, math.hypot(own.sigma, self.drift.sigma))
        return Expectation(self.crowd.curve, own)

    def crowd_habits(self) -> list[tuple[float, Habit]]:
        """Which lognormals the jobs without a history may follow, each with its weight."""
        return self.crowd.habits(self._guess)

    def known_s(self, model: str) -> float | None:
        """How long the model's own history lets expect, in seconds; None where it has none."""
        habit = self._habits.get(model)
        return None if habit is None else habit.median_s * self.drift.factor

    def running(self, model: str, job: object, after_s: float, age_s: float) -> None:
        """A poll found the job of `model` unfinished at `age_s`; the one before did at `after_s` (0: its start)."""
        self.crowd.running(job, age_s)
        self._drift(model, age_s, None, was_unfinished=after_s)

    def ended(self, model: str, job: object, after_s: float, by_s: float) -> None:
        """A poll found the job of `model` finished at `by_s`; it was unfinished at `after_s`."""
        self.crowd.ended(job, after_s, by_s)
        self._drift(model, after_s, by_s, was_unfinished=after_s)

    def _drift(self, model: str, after_s: float, by_s: float | None, *, was_unfinished: float) -> None:
        habit = self._habits.get(model)
        # a job speaks once: at its end, or when it has outlived what its history allows for the first time
        if habit is None:
            return
        late_s = habit.median_s * math.exp(habit.sigma)
        if by_s is not None or was_unfinished < late_s <= after_s:
            self.drift.learn(habit, after_s, by_s)


def _guess(habits: Mapping[str, Habit], grain_s: float) -> Habit:
    """Around which duration models without a history lie, and how sure that is."""
    if not habits:
        return Habit(_PRIOR_MEDIAN * grain_s, 1.0)
    logs = [math.log(h.median_s) for h in habits.values()]
    return Habit(math.exp(sum(logs) / len(logs)), 0.7)


def _prior_masses(habits: Mapping[str, Habit], grain_s: float) -> list[float]:
    """What a model without a history may take: as the others' histories say, and a wide guess where there are none."""
    guess = _lognormal_masses(_PRIOR_MEDIAN * grain_s, _PRIOR_SIGMA)
    if not habits:
        return guess
    masses = [0.3 * m for m in guess]
    medians = sorted(h.median_s for h in habits.values())
    step = max(1, len(medians) // 60)
    picked = medians[step // 2 :: step]
    for median_s in picked:
        for k, mass in enumerate(_lognormal_masses(median_s, 0.3)):
            masses[k] += 0.7 * mass / len(picked)
    return masses
