"""Resuming: whatever a run was killed at, every target has an outcome and nothing is started twice."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.outcome import Status
from orchestrator.simulator import virtual
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.machine import Death, Machine, quick_folder, started_by_model
from tests.rehearsal import manifest_text, model, uuid


def everything() -> tuple[str, Scenario]:
    """A manifest with every kind of way through a run: a group, scopes behind one another, a look-up, a job that fails, a
    refusal, a 429, a call that is tried again, answers without an id and answers that are final.
    """
    text = manifest_text(
        model(1, connection="c1"),
        model(2, connection="c1", mode="soft"),
        model(3, connection="c3", schemas=["a"]),
        model(4, connection="c3", schemas=["b"]),
        model(5, connection=None),
        model(6),
        model(7),
        model(8),
        model(9),
        workers=4,
    )
    faults = [
        {"method": "POST", "path": f"{uuid(6)}/refresh", "nth": [1], "status": 429, "headers": {"Retry-After": "1"}},
        {"method": "POST", "path": f"{uuid(7)}/refresh", "always": True, "status": 403},
        {"method": "POST", "path": f"{uuid(8)}/refresh", "nth": [1], "status": 503, "headers": {"Retry-After": "2"}},
    ]
    models = [{"id": uuid(9), "result": "FAILED", "duration": 4}]
    return text, make_scenario(default_model={"duration": 6}, models=models, faults=faults)


END = {**dict.fromkeys((f"m{n}" for n in range(1, 10)), Status.SUCCEEDED), "m7": Status.REJECTED, "m9": Status.FAILED}


def check_ends(statuses: dict[str, Status]) -> None:
    """Every target has its outcome: as staged, or `unknown`; what waits behind an `unknown` of its lane is not started."""
    assert list(statuses) == list(END)
    for name, status in statuses.items():
        waits = name == "m4" and statuses["m3"] is Status.UNKNOWN
        assert status in ({END[name], Status.UNKNOWN} | ({Status.NOT_STARTED} if waits else set())), name


def test_an_unhurt_run_ends_as_staged(tmp_path: Path) -> None:
    """The scenario of these tests, without any kill: the yardstick for all others."""

    async def main() -> None:
        async with Machine(tmp_path, *everything()) as machine:
            night = await machine.run()
            assert night.statuses == END
            assert set(started_by_model(machine.calls).values()) == {1}

    virtual.run(main())


def commits_of_everything() -> int:
    """How many commits the unhurt run makes."""

    async def main() -> int:
        async with Machine(folder, *everything()) as machine:
            return (await machine.run()).commits

    with quick_folder() as folder:
        return virtual.run(main())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_every_commit_loses_nothing(after: bool) -> None:
    """Killed before or after each commit of the journal and resumed: every target has its outcome, as staged or `unknown`,
    no model's refresh is started twice, and a second resume would have nothing to do.
    """
    ends: Counter[Status] = Counter()

    async def main(folder: Path, at: int) -> None:
        async with Machine(folder, *everything()) as machine:
            night = await machine.run(death=Death(at=at, after=after))
            assert night.result is None
            if at == 1 and not after:
                # it died before the run was in the journal at all
                assert not machine.calls
                return
            again = await machine.resume(night.root)
            counts = started_by_model(machine.calls)
            assert set(counts.values()) <= {1}, (at, counts)
            check_ends(again.statuses)
            ends.update(again.statuses.values())
            unknown = [o for o in again.outcomes if o.status is Status.UNKNOWN]
            # one intent is without an answer for each active call
            assert len({o.covered_by or o.name for o in unknown}) <= 4
            assert all(o.error is not None and o.error.kind == "cut_off" and o.error.hint for o in unknown)

    commits = commits_of_everything()
    assert commits > 35
    for at in range(1, commits + 1):
        with quick_folder() as folder:
            virtual.run(main(folder, at))
    assert ends[Status.SUCCEEDED] > 10 * ends[Status.UNKNOWN]


@settings(max_examples=10)
@given(kills=st.lists(st.tuples(st.integers(2, 45), st.booleans()), min_size=1, max_size=4))
def test_any_row_of_kills_loses_nothing(kills: list[tuple[int, bool]]) -> None:
    """A run that is killed, resumed, killed again ... and at last left alone: the same promise."""

    async def main(folder: Path) -> None:
        async with Machine(folder, *everything()) as machine:
            at, after = kills[0]
            night = await machine.run(death=Death(at=at, after=after))
            for at, after in kills[1:]:
                night = await machine.resume(night.root, death=Death(at=at, after=after))
            night = await machine.resume(night.root)
            assert set(started_by_model(machine.calls).values()) <= {1}
            check_ends(night.statuses)

    with quick_folder() as folder:
        virtual.run(main(folder))
