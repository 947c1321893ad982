"""How long jobs take, as far as earlier runs show it."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.quota.duration_model import FIRST_GUESS_S, DurationDistribution, DurationModel, fit

seconds = st.floats(0.05, 100_000)


@given(median_s=seconds, sigma=st.floats(0.05, 3), medians=st.floats(0, 20))
def test_half_of_the_jobs_outlast_the_median(median_s: float, sigma: float, medians: float) -> None:
    """Half of the jobs outlast the median, and the area under the survival is what summing it gives."""
    jobs, age_s = DurationDistribution(median_s, sigma), medians * median_s
    assert jobs.alive(median_s) == pytest.approx(0.5)
    assert jobs.alive(0.0) == 1.0
    assert jobs.area(0.0) == 0.0
    steps = 400
    summed = sum(jobs.alive(age_s * (k + 0.5) / steps) for k in range(steps)) * age_s / steps
    assert jobs.area(age_s) == pytest.approx(summed, rel=0.05, abs=0.02 * median_s)


@given(
    median_s=st.floats(1, 1000),
    sigma=st.floats(0.05, 2),
    unfinished_s=st.floats(0, 2000),
    gaps=st.lists(st.floats(0, 500), max_size=6),
)
def test_unseen_time_never_shrinks(median_s: float, sigma: float, unfinished_s: float, gaps: list[float]) -> None:
    """The expected unseen time starts at 0 and grows by at most a second per second."""
    jobs = DurationDistribution(median_s, sigma)
    before_s, age_s = 0.0, unfinished_s
    assert jobs.unseen_s(unfinished_s, unfinished_s) == 0.0
    assert jobs.unseen_s(unfinished_s - 1.0, unfinished_s) == 0.0
    for gap_s in gaps:
        age_s += gap_s
        now_s = jobs.unseen_s(age_s, unfinished_s)
        assert before_s - 1e-6 <= now_s <= before_s + gap_s + 1e-6
        before_s = now_s


def test_survival_falls_to_nothing() -> None:
    """Survival goes from 1 to 0, and a job far beyond its history counts as one that outlived it."""
    jobs = DurationDistribution(60.0, 0.3)
    alive = [jobs.alive(age_s) for age_s in range(0, 1000, 10)]
    assert alive[0] == 1.0
    assert alive[-1] < 1e-6
    assert all(a >= b for a, b in pairwise(alive))
    assert not jobs.outlived(90.0)
    assert jobs.outlived(150.0)


@pytest.mark.parametrize(
    "runs, low_s, high_s",
    [
        ([60.0], 59, 61),
        ([60.0, 66.0], 58, 68),
        ([60.0, 61.0, 600.0, 59.0], 55, 65),
        ([60.0, 61.0, 62.0, 600.0], 55, 65),
        ([10.0, 10.0, 10.0, 10.0, 100.0, 100.0, 100.0, 100.0], 90, 110),
        ([0.0, 0.0], 0.04, 0.06),
    ],
)
def test_one_odd_run_does_not_move_the_median(runs: list[float], low_s: float, high_s: float) -> None:
    """The median of a model follows its recent runs; one run of ten times the length counts as one odd run."""
    (jobs,) = fit({"m": runs}).values()
    assert low_s <= jobs.median_s <= high_s
    assert jobs.sigma >= 0.05


def test_empty_histories_give_no_estimate() -> None:
    """A model without usable durations has no estimate."""
    assert fit({"a": [], "b": [math.nan, math.inf, -1.0]}) == {}
    assert set(fit({"a": [1.0, math.nan]})) == {"a"}
    assert DurationModel({"a": []}).expect("a") is None
    assert DurationModel().known_s("a") is None


def test_spread_is_judged_over_all_models() -> None:
    """If the runs of the models differ by much, a model with a single run has a wide estimate too."""
    steady = fit({f"m{n}": [60.0, 61.0, 60.5] for n in range(20)} | {"one": [60.0]})
    wild = fit({f"m{n}": [20.0, 180.0, 60.0] for n in range(20)} | {"one": [60.0]})
    assert steady["one"].sigma < 0.2
    assert wild["one"].sigma > 0.5


def test_a_typical_job_is_one_of_this_run() -> None:
    """Without history a job takes as long as the jobs of this run; before the first end, as the histories; else a guess."""
    assert DurationModel().typical_s == FIRST_GUESS_S
    model = DurationModel({"a": [100.0], "b": [300.0], "c": [200.0]})
    assert model.typical_s == pytest.approx(200.0)
    for _ in range(3):
        model.ended(8.0, 12.0)
    assert model.typical_s == 10.0
    assert model.known_s("a") == pytest.approx(100.0)
