"""What is believed of a job's duration at this moment: its model's habit and the run's crowd, mixed. Seconds throughout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.quota.crowd import Crowd, Curve, masses_of
from orchestrator.quota.habits import Drift, Habit, make_habits

# "Several minutes" is the documented class; seen were jobs of under a minute: 22 times the usual finest poll of 2 s.
# A wide prior lets either be learned soon; a manifest that polls finer means a faster clock (the simulator's).
_PRIOR_MEDIAN = 22.5
_PRIOR_SIGMA = 1.5
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
    guess = masses_of(Habit(_PRIOR_MEDIAN * grain_s, _PRIOR_SIGMA))
    if not habits:
        return guess
    masses = [0.3 * m for m in guess]
    medians = sorted(h.median_s for h in habits.values())
    step = max(1, len(medians) // 60)
    picked = medians[step // 2 :: step]
    for median_s in picked:
        for k, mass in enumerate(masses_of(Habit(median_s, 0.3))):
            masses[k] += 0.7 * mass / len(picked)
    return masses
