"""The timeline's places: what was sent when, lane by lane, whatever the run looked like."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.outcome import CallKind, CallMade, Outcome, Status
from orchestrator.engine.run_stats import BudgetSample
from orchestrator.report.report import Report
from orchestrator.report.timeline import LANES_SHOWN, Timeline, make_budget_chart, make_timeline
from tests.report.reports import ANY_REPORT, HALF, START, make_facts, make_outcome, make_report


def timeline_of(*outcomes: Outcome, duration_s: float = 100.0) -> Timeline:
    timeline = make_timeline(Report(run=make_facts(duration_s), outcomes=outcomes, exit_code=0))
    assert timeline is not None
    return timeline


def sent(
    number: int, at_s: float, took_s: float | None, lane: str | None = "eu", status: Status = Status.SUCCEEDED
) -> Outcome:
    outcome = make_outcome(number, status, queued_s=at_s, took_s=took_s or 0)
    return replace(outcome, connection=lane, duration_s=took_s)


@HALF
@given(ANY_REPORT)
def test_any_run_fits_on_the_line(report: Report) -> None:
    """Every bar begins on the line, whatever moments and durations a report holds."""
    timeline = make_timeline(report)
    if timeline is None:
        return
    for lane in timeline.lanes:
        assert lane.levels <= 4
        for bar in lane.bars:
            assert 0 <= bar.x <= 1000
            assert bar.width > 0
            assert report.outcomes[bar.number].name == bar.name
    assert all(0 <= tick.x <= 1000 for tick in timeline.ticks)
    assert len(timeline.ticks) <= 7


def test_a_bar_is_where_its_refresh_was() -> None:
    """A refresh sent at 20 s that took 30 of 100 s begins at a fifth and is three tenths long, but for a gap."""
    (lane,) = timeline_of(sent(1, 20, 30)).lanes
    (bar,) = lane.bars
    assert (bar.x, bar.width, bar.level, bar.number) == (200.0, 298.5, 0, 0)
    assert bar.title == "model_0001: succeeded, sent at 20s, took 30s"
    assert lane.words == "eu: 1 refreshes from 20s to 50s"


def test_lanes_are_connections_and_the_failures_come_first() -> None:
    """Failures have lanes of their own on top; then the lane that decided the run's length; bad ones are counted."""
    timeline = timeline_of(
        sent(1, 0, 10, "eu"), sent(2, 10, 5, "eu", Status.FAILED), sent(3, 0, 40, "us"), sent(4, 0, 1, None)
    )
    assert [(lane.label, len(lane.bars), lane.levels) for lane in timeline.lanes] == [
        ("eu", 1, 1),
        ("us", 1, 1),
        ("eu", 1, 1),
        ("model_0004", 1, 1),
    ]
    assert timeline.lanes[0].words.endswith(", 1 not good")


def test_a_lane_without_a_name_has_its_first_model() -> None:
    """A connection that is known by its id alone is called by its models; each unknown connection is one of its own."""
    whole = "2588a9c3-3d40-4b0e-8771-265aac13af00"
    timeline = timeline_of(sent(1, 0, 9, whole), sent(2, 9, 9, whole), sent(3, 0, 5, None), sent(4, 0, 4, None))
    assert [lane.label for lane in timeline.lanes] == ["model_0001 and 1 more", "model_0003", "model_0004"]


def test_failing_lanes_come_first() -> None:
    """With a row for each connection, those with a failure come first, whatever ended last."""
    outcomes = [sent(n, n, 5, f"c{n}", Status.FAILED if n == 3 else Status.SUCCEEDED) for n in range(100)]
    timeline = timeline_of(*outcomes)
    assert [lane.label for lane in timeline.lanes[:2]] == ["c3", "c99"]
    assert [lane.is_failing for lane in timeline.lanes[:2]] == [True, False]


def test_instances_are_named_where_there_are_several() -> None:
    """Lanes of two instances are told apart although their connections have one name."""
    timeline = timeline_of(sent(1, 0, 10), replace(sent(2, 0, 5), instance="test"))
    assert [lane.label for lane in timeline.lanes] == ["prod / eu", "test / eu"]


def test_what_overlaps_is_stacked() -> None:
    """Refreshes that ran side by side in one lane are on levels of their own, at most four."""
    (lane,) = timeline_of(*(sent(number, number, 50) for number in range(6)), sent(9, 60, 10)).lanes
    assert [bar.level for bar in lane.bars] == [0, 1, 2, 3, 3, 3, 0]


def test_served_and_unsent_targets_are_not_drawn() -> None:
    """A target served by another's refresh is not drawn again, one that was never sent not at all."""
    served = replace(sent(1, 0, 5), covered_by="sales")
    unsent = make_outcome(2, Status.NOT_STARTED)
    assert make_timeline(Report(run=make_facts(), outcomes=(served, unsent), exit_code=0)) is None


def test_a_refresh_without_an_end_runs_to_the_end() -> None:
    """A refresh whose end was not seen is drawn until the run's end."""
    (lane,) = timeline_of(sent(1, 40, None)).lanes
    assert (lane.bars[0].x, lane.bars[0].width) == (400.0, 598.5)


def test_what_ended_before_a_resumed_run_is_counted() -> None:
    """Refreshes of the run that was cut off are not drawn where they ended before this one, those that span it are."""
    long_ago = replace(sent(1, 0, 10), submitted_at=START - timedelta(hours=1))
    across = replace(sent(2, 0, 50), submitted_at=START - timedelta(seconds=20))
    timeline = timeline_of(long_ago, across)
    assert timeline.earlier == 1
    assert [(bar.number, bar.x, bar.width) for bar in timeline.lanes[0].bars] == [(1, 0.0, 298.5)]


def test_many_bars_become_one_shape() -> None:
    """Beyond 600 refreshes the good ones of a lane are one path and the bad ones stay alone; beyond 600 bad ones these too."""
    few, many, bad = (
        make_timeline(make_report(n, bad_share=share)) for n, share in ((60, 0.1), (2000, 0.1), (2000, 1.0))
    )
    assert few is not None
    assert many is not None
    assert bad is not None
    assert few.is_expanded
    assert not many.is_expanded
    assert not [lane for lane in few.lanes if lane.masses]
    assert {mass.status.is_good for lane in many.lanes for mass in lane.masses} == {True}
    assert {bar.status.is_good for lane in many.lanes for bar in lane.bars} == {False}
    assert not [lane for lane in bad.lanes if lane.bars]
    assert all(mass.path.startswith("M") and mass.path.endswith("z") for lane in bad.lanes for mass in lane.masses)


def test_hundreds_of_lanes_are_cut() -> None:
    """Of hundreds of connections those that ended last are drawn, the others counted."""
    timeline = timeline_of(*(sent(number, number, 1, f"lane {number}") for number in range(200)), duration_s=300)
    assert len(timeline.lanes) == LANES_SHOWN
    assert timeline.hidden == 200 - LANES_SHOWN
    assert timeline.lanes[0].label == "lane 199"


@pytest.mark.parametrize(
    "duration_s, labels",
    [
        (0.5, ["0", "0.1s", "0.2s", "0.3s", "0.4s", "0.5s"]),
        (45, ["0", "10s", "20s", "30s", "40s"]),
        (115, ["0", "20s", "40s", "1m", "1m20s", "1m40s"]),
        (9000, ["0", "30m", "1h", "1h30m", "2h", "2h30m"]),
        (30 * 86400, ["0", "120h", "240h", "360h", "480h", "600h", "720h"]),
    ],
)
def test_the_axis_has_round_marks(duration_s: float, labels: list[str]) -> None:
    """The marks of the axis are round, few, and on the line."""
    assert [tick.label for tick in timeline_of(sent(1, 0, 0.1), duration_s=duration_s).ticks] == labels


def test_the_budget_is_drawn_with_its_pauses() -> None:
    """The area follows what was used, pauses are where they were, also one that never ended."""
    samples = [
        BudgetSample(t_s=0, used=0, requests=60),
        BudgetSample(t_s=10, used=60, requests=60, held=True),
        BudgetSample(t_s=20, used=30, requests=60),
        BudgetSample(t_s=90, used=30, requests=60, held=True),
    ]
    chart = make_budget_chart(samples, 100)
    assert chart is not None
    assert chart.area == "M0 100H0V100H100V0H200V50H900V50V100Z"
    assert chart.held == ((100.0, 100.0), (900.0, 1.0))
    assert chart.words == "50% average, peak 60 of 60 calls per window, with 2 pauses after a 429"
    one = make_budget_chart(samples[:2], 100)
    assert one is not None
    assert one.words.endswith("with 1 pause after a 429")
    assert make_budget_chart([], 100) is None


@given(st.integers(min_value=1, max_value=3000), st.integers(min_value=0, max_value=2999))
def test_thinning_keeps_the_peak(count: int, peak: int) -> None:
    """However many samples there are, the chart has at most 500 points, and the highest is one of them."""
    samples = [BudgetSample(t_s=n, used=60 if n == peak % count else 1, requests=60) for n in range(count)]
    chart = make_budget_chart(samples, count)
    assert chart is not None
    assert chart.area.count("H") <= 500
    assert "V0H" in chart.area or chart.area.endswith("V0V100Z")


def test_a_bar_shows_when_the_call_was_accepted_and_where_it_usually_ends() -> None:
    """Retries before the call was accepted are the bar's beginning; the usual end is a place on the line, or not drawn."""
    first = CallMade(number=1, what=CallKind.REFRESH, left_at=START + timedelta(seconds=10), end="throttled", took_s=1)
    taken = CallMade(number=2, what=CallKind.REFRESH, left_at=START + timedelta(seconds=18), end="answered", took_s=2)
    outcome = replace(make_outcome(1, queued_s=10, took_s=50), calls=(first, taken), usual_s=20.0)
    ((bar,),) = (lane.bars for lane in timeline_of(outcome).lanes)
    assert (bar.x, bar.width, bar.sending, bar.usual) == (100, 498.5, 100, 300)
    assert bar.title.endswith("took 50s, usually 20s")
    for plain in (replace(outcome, calls=(), usual_s=None), replace(outcome, calls=(first,), usual_s=900.0)):
        ((bar,),) = (lane.bars for lane in timeline_of(plain).lanes)
        assert (bar.sending, bar.usual) == (0, 0)
