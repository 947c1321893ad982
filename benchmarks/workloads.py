"""What is refreshed in a benchmark: how many models, how long their jobs take, what the key allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

MEDIAN_S = 60.0
SIGMA = 0.9
CAP_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`durations` makes one run's job durations (seconds) from a number of models and a random generator.

    `history_factor` is by how much earlier runs were shorter (2.0: durations have doubled since). `failing` makes every
    job end FAILED.
    """

    name: str
    models: int
    durations: Callable[[int, Random], list[float]]
    keys: int = 1
    requests: int = 60
    per_s: float = 60.0
    history_factor: float = 1.0
    failing: bool = False


def lognormal(models: int, rng: Random) -> list[float]:
    """What refreshes are like: mostly a minute, now and then ten."""
    return [min(CAP_S, MEDIAN_S * math.exp(rng.gauss(0, SIGMA))) for _ in range(models)]


def all_equal(models: int, rng: Random) -> list[float]:
    """Every job takes a minute."""
    del rng
    return [MEDIAN_S] * models


def bimodal(models: int, rng: Random) -> list[float]:
    """Two kinds of job: twenty seconds, or five minutes for one in four."""
    return [300.0 if rng.random() < 0.25 else 20.0 for _ in range(models)]


def one_giant(models: int, rng: Random) -> list[float]:
    """One job of half an hour somewhere among short ones."""
    durations = [30.0 * math.exp(rng.gauss(0, 0.3)) for _ in range(models)]
    durations[rng.randrange(models)] = 1750.0
    return durations


def quick_failures(models: int, rng: Random) -> list[float]:
    """All jobs fail, within seconds of one another."""
    return [5.0 + rng.random() for _ in range(models)]


WORKLOADS = (
    *(Workload(name=f"lognormal {n}", models=n, durations=lognormal) for n in (12, 60, 300, 1000)),
    Workload(name="lognormal 5000, 4 keys of 500", models=5000, durations=lognormal, keys=4, requests=500),
    Workload(name="all equal 300", models=300, durations=all_equal),
    Workload(name="bimodal 300", models=300, durations=bimodal),
    Workload(name="one giant 300", models=300, durations=one_giant),
    Workload(name="all failing 300", models=300, durations=quick_failures, failing=True),
    Workload(name="doubled since 300", models=300, durations=lognormal, history_factor=2.0),
)
