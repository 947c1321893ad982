"""How long jobs take, as far as is known: distributions, and what polls teach."""

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.quota.belief import Durations, Expectation
from orchestrator.quota.crowd import EDGES, Curve
from orchestrator.quota.habits import Drift, Habit, make_habits

seconds = st.floats(0.05, 100_000)


def seen(durations: Durations, lengths: list[float], *, gap_s: float = 5.0, model: str = "m{}") -> None:
    """Tell of jobs of these lengths, as polls every `gap_s` show them."""
    for number, length_s in enumerate(lengths):
        after_s = 0.0
        while after_s + gap_s < length_s:
            durations.running(model.format(number), number, after_s, after_s + gap_s)
            after_s += gap_s
        durations.ended(model.format(number), number, after_s, after_s + gap_s)


def expectations() -> list[Expectation]:
    """Nothing known, a run's own jobs known, a history known, a history that this run does not keep to."""
    empty, crowd = Durations(), Durations()
    history = Durations({"a": [60.0, 70.0, 55.0], "b": [10.0]})
    odd = Durations({f"m{n}": [30.0, 31.0] for n in range(20)})
    seen(crowd, [Random(n).lognormvariate(4, 0.9) for n in range(60)])
    seen(odd, [300.0] * 20)
    return [empty.expect("x"), crowd.expect("x"), history.expect("a"), history.expect("x"), odd.expect("m1")]


EXPECTATIONS = expectations()


@pytest.mark.parametrize("expected", EXPECTATIONS)
def test_survival_falls_and_quantiles_rise(expected: Expectation) -> None:
    """Each belief is a distribution: survival from 1 to 0, quantiles in order, the median where half are left."""
    alive = [expected.alive(age) for age in EDGES]
    assert alive[0] == 1.0
    assert alive[-1] < 0.01
    assert all(a >= b for a, b in pairwise(alive))
    for after_s in (0.0, 20.0):
        quantiles = [expected.crowd.quantile(share, after_s=after_s) for share in (0.01, 0.1, 0.5, 0.9, 0.99)]
        assert all(a <= b for a, b in pairwise(quantiles))
        assert quantiles[0] >= after_s
        assert expected.crowd.alive(quantiles[2]) == pytest.approx(expected.crowd.alive(after_s) / 2, abs=0.04)
    assert math.isfinite(expected.median_s)


@given(which=st.integers(0, 4), unfinished_s=st.floats(0, 2000), gaps=st.lists(st.floats(0, 500), max_size=6))
def test_unseen_time_never_shrinks(which: int, unfinished_s: float, gaps: list[float]) -> None:
    """Expected unseen time starts at 0 and grows, by no more than a second a second."""
    expected = EXPECTATIONS[which]
    before_s, age_s = 0.0, unfinished_s
    assert expected.unseen_s(unfinished_s, unfinished_s) == 0.0
    assert expected.unseen_s(unfinished_s - 1.0, unfinished_s) == 0.0
    for gap_s in gaps:
        age_s += gap_s
        now_s = expected.unseen_s(age_s, unfinished_s)
        assert before_s - 1e-6 <= now_s <= before_s + gap_s + 1e-6
        before_s = now_s


@given(median_s=seconds, sigma=st.floats(0.05, 3), medians=st.floats(0, 20))
def test_a_habit_is_a_lognormal(median_s: float, sigma: float, medians: float) -> None:
    """Half of the jobs outlast the median, and the area under the survival is what summing it gives."""
    habit, age_s = Habit(median_s, sigma), medians * median_s
    assert habit.alive(median_s) == pytest.approx(0.5)
    assert habit.alive(0.0) == 1.0
    assert habit.area(0.0) == 0.0
    steps = 400
    summed = sum(habit.alive(age_s * (k + 0.5) / steps) for k in range(steps)) * age_s / steps
    assert habit.area(age_s) == pytest.approx(summed, rel=0.05, abs=0.02 * median_s)


@settings(max_examples=30)
@given(
    masses=st.lists(st.floats(0.0, 10.0), min_size=len(EDGES) - 1, max_size=len(EDGES) - 1), age_s=st.floats(-5, 1e6)
)
def test_a_curve_is_any_histogram(masses: list[float], age_s: float) -> None:
    """Any masses make a survival between 0 and 1 whose area never shrinks, at every age."""
    masses[40] += 1.0
    curve = Curve(masses)
    assert 0.0 <= curve.alive(age_s) <= 1.0
    assert curve.area(age_s) <= curve.area(age_s + 3.0) <= curve.area(age_s) + 3.0 + 1e-6
    assert 0.0 <= curve.quantile(0.5) <= EDGES[-1]


def test_nothing_known_is_a_wide_guess() -> None:
    """Before anything has ended a job may take seconds or an hour, scaled by the finest poll that is asked for."""
    crowd = Durations(grain_s=2.0).expect("x")
    assert 20 <= crowd.median_s <= 90
    assert crowd.alive(600.0) > 0.01
    assert Durations(grain_s=0.02).expect("x").median_s < 1.0
    assert Durations().known_s("x") is None


@pytest.mark.parametrize("length_s", [4.0, 60.0, 900.0])
def test_a_run_learns_from_its_own_jobs(length_s: float) -> None:
    """After twenty jobs of one length, that is what is expected of the next, whatever was guessed before."""
    durations = Durations()
    seen(durations, [length_s * (0.9 + 0.01 * n) for n in range(20)], gap_s=min(5.0, length_s / 4))
    expected = durations.expect("new")
    assert expected.median_s == pytest.approx(length_s, rel=0.35)
    assert expected.alive(length_s / 3) > 0.8
    assert expected.alive(3 * length_s) < 0.2


def test_jobs_that_still_run_are_no_ends() -> None:
    """Nine jobs that ended soon and nine that run for minutes: half of the jobs are expected to be long."""
    durations = Durations()
    seen(durations, [10.0] * 9)
    for number in range(9):
        durations.running(f"long{number}", f"long{number}", 290.0, 300.0)
    assert 0.3 <= durations.expect("new").alive(250.0) <= 0.6


def test_a_histogram_of_many_jobs_holds_the_newest() -> None:
    """Thousands of jobs are no burden, and what they show last is what counts."""
    durations = Durations()
    seen(durations, [100.0] * 500)
    seen(durations, [20.0] * 500)
    assert durations.expect("new").median_s == pytest.approx(22.0, rel=0.3)


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
def test_a_habit_is_not_thrown_off_by_one_odd_run(runs: list[float], low_s: float, high_s: float) -> None:
    """A model's median follows its recent runs; one run of ten times the length counts as one odd run."""
    (habit,) = make_habits({"m": runs}).values()
    assert low_s <= habit.median_s <= high_s
    assert habit.sigma >= 0.05


def test_histories_that_say_nothing_are_none() -> None:
    """Empty histories, and durations that are no numbers, make no habit."""
    assert make_habits({"a": [], "b": [math.nan, math.inf, -1.0]}) == {}
    assert set(make_habits({"a": [1.0, math.nan]})) == {"a"}


def test_scatter_is_judged_over_all_models() -> None:
    """Models whose runs differ by much are expected to differ again; one with a single run learns that from the others."""
    steady = make_habits({f"m{n}": [60.0, 61.0, 60.5] for n in range(20)} | {"one": [60.0]})
    wild = make_habits({f"m{n}": [20.0, 180.0, 60.0] for n in range(20)} | {"one": [60.0]})
    assert steady["one"].sigma < 0.2
    assert wild["one"].sigma > 0.5


def test_a_warehouse_that_takes_twice_as_long_is_noticed() -> None:
    """When the run's jobs take twice what their histories say, the ones to come are expected to do so as well."""
    durations = Durations({f"m{n}": [60.0, 62.0] for n in range(30)})
    assert durations.known_s("m29") == pytest.approx(61, rel=0.05)
    seen(durations, [122.0] * 12)
    assert 1.7 <= durations.drift.factor <= 2.3
    assert durations.known_s("m29") == pytest.approx(122, rel=0.2)
    assert durations.expect("m29").median_s == pytest.approx(122, rel=0.2)


def test_one_odd_job_moves_nothing() -> None:
    """One job of ten times its length among many that are as ever does not change what is expected."""
    durations = Durations({f"m{n}": [60.0, 62.0] for n in range(30)})
    seen(durations, [61.0] * 8 + [600.0])
    assert 0.85 <= durations.drift.factor <= 1.25


def test_a_job_that_outlives_its_history_speaks_before_its_end() -> None:
    """Jobs that still run long after their time tell of a slow day already."""
    durations = Durations({f"m{n}": [60.0, 62.0] for n in range(30)})
    for number in range(10):
        after_s = 0.0
        while after_s < 150:
            durations.running(f"m{number}", number, after_s, after_s + 10)
            after_s += 10
    assert durations.drift.factor > 1.3


def test_drift_believes_in_no_change_at_first() -> None:
    """Without a word from any job the factor is 1, and a job as ever keeps it there."""
    drift = Drift()
    assert drift.factor == 1.0
    drift.learn(Habit(60.0, 0.2), 55.0, 65.0)
    assert drift.factor == pytest.approx(1.0, abs=0.05)


def test_a_surprise_is_expected_a_little() -> None:
    """A model's own habit never rules out what other jobs do."""
    expected = Durations({"a": [60.0] * 5}).expect("a")
    assert expected.alive(60.0 * 8) > 0.001
    assert expected.unseen_s(1e9, 1e9 - 7.0) == pytest.approx(7.0)


@given(st.floats(1.0, 2000.0), st.floats(0.05, 1.5), st.floats(0.0, 1e5), st.integers(0, 1000))
def test_a_drawn_duration_outlives_what_is_known(median_s: float, sigma: float, after_s: float, seed: int) -> None:
    """A duration that is drawn is never shorter than the age that the job is known to have reached."""
    assert Habit(median_s, sigma).draw(after_s, Random(seed)) >= after_s


def test_drawn_durations_follow_the_habit() -> None:
    """Half of the durations that a habit draws are above its median."""
    rng = Random(1)
    drawn = [Habit(60.0, 0.5).draw(0.0, rng) for _ in range(2000)]
    assert sum(d > 60.0 for d in drawn) == pytest.approx(1000, abs=80)


def test_the_crowd_s_lognormal_is_found_again() -> None:
    """The lognormals that a run's jobs may follow are close to the one that they were drawn from."""
    durations = Durations()
    seen(durations, [Random(n).lognormvariate(math.log(120), 0.5) for n in range(150)])
    weighed = durations.crowd_habits()
    total = sum(w for w, _ in weighed)
    assert sum(w * math.log(h.median_s) for w, h in weighed) / total == pytest.approx(math.log(120), abs=0.2)
    assert sum(w * h.sigma for w, h in weighed) / total == pytest.approx(0.5, abs=0.15)
