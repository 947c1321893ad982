"""How long a run still takes, asked while it goes on."""

import asyncio

import pytest

from orchestrator.engine.run import Run
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import manifest_text, model, rehearse, uuid

HISTORY = {"sim": {uuid(n): (60.0, 61.0, 60.0) for n in range(200)}}


class Asking:
    """Asks a run for its time left at some moments."""

    def __init__(self, *moments_s: float) -> None:
        self._moments_s = moments_s
        self.told: list[float | None] = []

    async def __call__(self, run: Run) -> None:
        """Ask, as progress does."""
        before_s = 0.0
        for at_s in self._moments_s:
            await asyncio.sleep(at_s - before_s)
            before_s = at_s
            self.told.append(run.time_left_s())


def test_at_half_time_the_rest_is_known() -> None:
    """Two hundred models whose durations repeat: at half time the estimate is within 15 % of what it still took."""
    text = manifest_text(*(model(n) for n in range(200)))
    staged = make_scenario(default_model={"duration": [58, 62]})
    took_s = rehearse(text, staged, history=HISTORY).result.duration_s
    asking = Asking(took_s / 2)
    run = rehearse(text, staged, history=HISTORY, act=asking)
    (told,) = asking.told
    assert told is not None
    assert told == pytest.approx(run.result.duration_s - took_s / 2, rel=0.15)


def test_refreshes_that_follow_one_another_are_counted() -> None:
    """Ten scopes of one connection, a minute each: at the start about ten minutes, in the middle about five."""
    models = [model(n, connection="wh", schemas=[f"s{n}"]) for n in range(10)]
    asking = Asking(1.0, 300.0)
    rehearse(manifest_text(*models), make_scenario(default_model={"duration": 60}), history=HISTORY, act=asking)
    first, middle = asking.told
    assert first is not None
    assert middle is not None
    assert 540 <= first <= 700
    assert 240 <= middle <= 400


def test_before_there_is_a_plan_there_is_no_estimate() -> None:
    """During look-ups there is no estimate."""
    asking = Asking(0.5)
    staged = make_scenario(default_model={"duration": 1}, latency=1.0)
    rehearse(manifest_text(model(1, connection=None)), staged, act=asking)
    assert asking.told == [None]
