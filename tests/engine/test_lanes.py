"""Refreshes of one connection: who sends, who is covered, what follows, and what stays behind a closed lane."""

from itertools import pairwise

import pytest

from orchestrator.engine.events import LaneFailed
from orchestrator.engine.outcome import Status
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.run_context import RunSettings
from orchestrator.errors import OmniRefreshError
from orchestrator.planning.plan import Refresh
from orchestrator.simulator.call_log_checks import overlaps
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse, uuid

BRANCHES = [f"00000000-0000-4000-9000-{n:012x}" for n in range(4)]


def wh(number: int, **keys: object) -> dict[str, object]:
    """A model on the connection that all of them share."""
    return model(number, **{"connection": "wh", **keys})


def scenario(
    *numbers: int, branch_based: bool = False, faults: tuple[dict[str, object], ...] = (), **special: dict[str, object]
) -> Scenario:
    """Models on one connection, each with four branches; `m3={...}` says more of one of them."""
    branches = [{"name": f"b{n}", "id": id_} for n, id_ in enumerate(BRANCHES)] if branch_based else []
    return make_scenario(
        connections=[{"name": "wh", "branch_based": branch_based}],
        models=[
            {
                "id": uuid(n),
                "connection": "wh",
                "duration": 10,
                "branches": branches if n == numbers[0] else [],
                **special.get(f"m{n}", {}),
            }
            for n in numbers
        ],
        faults=list(faults),
    )


def sent(run: Rehearsal) -> list[str]:
    """Which models' refreshes were sent, in order."""
    return [f"m{int(call.path.split('/')[4][-12:], 16)}" for call in run.posts]


def test_one_refresh_serves_a_group() -> None:
    """Three hard targets of one connection: the first sends, the others are covered with its times and job, no attempts."""
    run = rehearse(manifest_text(wh(1), wh(2), wh(3, timeout=3600)), scenario(1, 2, 3))
    first, second, third = run.outcomes
    assert sent(run) == ["m1"]
    assert [o.status for o in run.outcomes] == [Status.SUCCEEDED] * 3
    assert [o.covered_by for o in run.outcomes] == [None, "m1", "m1"]
    assert second.job_ids == third.job_ids == first.job_ids != ()
    assert (second.submitted_at, second.duration_s) == (first.submitted_at, first.duration_s)
    assert (first.attempts, second.attempts, second.polls) == (1, 0, 0)


def test_the_widest_sends() -> None:
    """A hard target that stands last serves the soft ones; one that says `mode: soft` itself is warned, a scoped one not."""
    run = rehearse(
        manifest_text(wh(1, mode="soft"), wh(2, schemas=["a"]), wh(3, mode="hard"), wh(4)), scenario(1, 2, 3, 4)
    )
    assert sent(run) == ["m3"]
    assert [o.covered_by for o in run.outcomes] == ["m3", "m3", None, "m3"]
    assert [bool(o.warnings) for o in run.outcomes] == [True, False, False, False]
    assert run.of("m1").mode == "soft"


def test_a_soft_one_without_scope_serves_the_soft_ones() -> None:
    """Scopes are in a soft refresh of everything."""
    run = rehearse(
        manifest_text(wh(1, schemas=["a"]), wh(2, mode="soft"), wh(3, tables=["a.b"], schemas=["a"])), scenario(1, 2, 3)
    )
    assert sent(run) == ["m2"]
    assert run.posts[0].query == {"hard_refresh": "false"}


def test_equal_scopes_share_one_and_others_follow() -> None:
    """The same schemas in another order are one refresh; a different scope is sent after it, never at the same time."""
    run = rehearse(
        manifest_text(wh(1, schemas=["a", "b"]), wh(2, schemas=["c"]), wh(3, schemas=["b", "a"]), wh(4, schemas=["a"])),
        scenario(1, 2, 3, 4),
    )
    assert sent(run) == ["m1", "m2", "m4"]
    assert run.of("m3").covered_by == "m1"
    assert overlaps(run.calls) == []
    assert all(b.t_s >= a.t_s + 10 for a, b in pairwise(run.posts))


def test_without_collapsing_each_sends_its_own() -> None:
    """`collapse: false`: one refresh for each target, one after another."""
    run = rehearse(manifest_text(wh(1), wh(2), wh(2, name="again"), defaults={"collapse": False}), scenario(1, 2))
    assert sent(run) == ["m1", "m2", "m2"]
    assert overlaps(run.calls) == []
    assert {o.covered_by for o in run.outcomes} == {None}


def test_branches_of_one_connection_follow_one_another() -> None:
    """Targets of the same branch share a refresh; other branches come after it; each is pending promotion."""
    models = [wh(n, branch=BRANCHES[b]) for n, b in ((1, 0), (2, 1), (3, 0), (4, 2))]
    run = rehearse(manifest_text(*models), scenario(1, 2, 3, 4, branch_based=True))
    asked = [call.query["branch_id"] for call in run.posts]
    assert asked[0] == BRANCHES[0]
    assert len(asked) == len(set(asked)) == 3
    assert overlaps(run.calls) == []
    assert run.of("m3").covered_by == "m1"
    good = [o for o in run.outcomes if o.status is Status.SUCCEEDED]
    assert good
    assert all(o.promotion_pending for o in good)
    assert not any(o.promotion_pending for o in run.outcomes if o.status is not Status.SUCCEEDED)


def test_after_a_rejection_the_next_of_the_group_sends() -> None:
    """`rejected` and `error` started nothing: the next one sends its own, and a covered target names its sender."""
    run = rehearse(manifest_text(wh(1), wh(2), wh(3)), scenario(1, 2, 3, m1={"forbidden": True}))
    assert sent(run) == ["m1", "m2"]
    assert [o.status for o in run.outcomes] == [Status.REJECTED, Status.SUCCEEDED, Status.SUCCEEDED]
    assert run.of("m3").covered_by == "m2"


def test_a_failure_is_shared() -> None:
    """A job that failed, or whose result is unknown, counts for its group: no other target of the group sends one."""
    failed = rehearse(manifest_text(wh(1), wh(2)), scenario(1, 2, m1={"result": "FAILED"}))
    assert (sent(failed), set(failed.statuses.values())) == (["m1"], {Status.FAILED})
    cut = rehearse(
        manifest_text(wh(1), wh(2)), scenario(1, 2, faults=({"method": "POST", "always": True, "drop": "reset"},))
    )
    assert (sent(cut), set(cut.statuses.values())) == (["m1"], {Status.UNKNOWN})


def test_different_connections_run_side_by_side() -> None:
    """Four connections of two scopes each take as long as one."""
    models = [model(n, connection=f"c{n % 4}", schemas=[f"s{n}"]) for n in range(8)]
    run = rehearse(manifest_text(*models), make_scenario(default_model={"duration": 30}))
    assert run.result.duration_s < 100
    assert set(run.statuses.values()) == {Status.SUCCEEDED}


UNSETTLED = [
    pytest.param({"duration": "never"}, (), {"timeout": 30}, Status.TIMED_OUT, id="timed-out"),
    pytest.param({"duration": 40}, ({"method": "POST", "nth": [1], "count": "rule", "status": 502},), {}, Status.UNKNOWN, id="unknown"),
    pytest.param(
        {"duration": 40},
        ({"method": "POST", "nth": [1], "count": "rule", "status": 200, "body": {"modelId": "x", "status": "running"}},),
        {},
        Status.ACCEPTED,
        id="no-job-id",
    ),
]  # fmt: skip


@pytest.mark.parametrize("first, faults, keys, status", UNSETTLED)
def test_what_may_still_run_closes_its_lane(
    first: dict[str, object], faults: tuple[dict[str, object], ...], keys: dict[str, object], status: Status
) -> None:
    """When only closed lanes are left, the run ends and what waits behind them is `not_started`; others are done."""
    models = [wh(1, schemas=["a"], **keys), wh(2, schemas=["b"]), model(9)]
    staged = scenario(1, 2, m1=first, faults=faults).model_copy(
        update={"default_model": make_scenario(default_model={"duration": 3}).default_model}
    )
    run = rehearse(manifest_text(*models), staged)
    assert run.of("m1").status is status
    behind = run.of("m2")
    assert behind.error is not None
    assert (behind.status, behind.error.kind, behind.attempts) == (Status.NOT_STARTED, "lane_closed", 0)
    assert "m2" not in sent(run)
    assert run.of("m9").status is Status.SUCCEEDED


@pytest.mark.parametrize("first, faults, keys, status", UNSETTLED)
def test_a_closed_lane_opens_after_its_timeout(
    first: dict[str, object], faults: tuple[dict[str, object], ...], keys: dict[str, object], status: Status
) -> None:
    """While another lane is active, a closed one waits for its timeout, and then continues."""
    keys = {"timeout": 60, **keys}
    models = [wh(1, schemas=["a"], **keys), wh(2, schemas=["b"]), model(9)]
    staged = scenario(1, 2, m1=first, faults=faults).model_copy(
        update={"default_model": make_scenario(default_model={"duration": 300}).default_model}
    )
    run = rehearse(manifest_text(*models), staged)
    assert run.of("m1").status is status
    assert run.of("m2").status is Status.SUCCEEDED
    posts = [call for call in run.posts if call.path.split("/")[4] != uuid(9)]
    closed_for_s = posts[1].t_s - posts[0].t_s - (30 if status is Status.TIMED_OUT else 0)
    assert closed_for_s >= float(str(keys["timeout"])) - 0.1
    assert closed_for_s <= float(str(keys["timeout"])) + 5


def test_a_closed_lane_opens_when_its_job_has_ended() -> None:
    """A job that ended after its timeout is seen to have ended: the next refresh goes, and the outcome stands."""
    models = [wh(1, schemas=["a"], timeout=60), wh(2, schemas=["b"]), model(9)]
    staged = scenario(1, 2, m1={"duration": 75}).model_copy(
        update={"default_model": make_scenario(default_model={"duration": 300}).default_model}
    )
    run = rehearse(manifest_text(*models), staged)
    assert run.of("m1").status is Status.TIMED_OUT
    assert run.of("m2").status is Status.SUCCEEDED
    second = next(call for call in run.posts if call.path.split("/")[4] == uuid(2))
    assert 75 <= second.t_s < 100
    assert overlaps(run.calls) == []
    assert run.of("m1").polls < len([c for c in run.polls if c.job_id in run.of("m1").job_ids])


def test_no_wait_follows_only_awaited_jobs() -> None:
    """With `--no-wait` jobs are left to themselves, but for those before another refresh of the same connection."""
    models = [wh(1, schemas=["a"]), wh(2, schemas=["b"]), model(9)]
    staged = scenario(1, 2).model_copy(
        update={"default_model": make_scenario(default_model={"duration": 300}).default_model}
    )
    run = rehearse(manifest_text(*models), staged, settings=RunSettings(wait=False))
    assert run.statuses == {"m1": Status.SUCCEEDED, "m2": Status.ACCEPTED, "m9": Status.ACCEPTED}
    assert overlaps(run.calls) == []
    assert {poll.job_id for poll in run.polls} == set(run.of("m1").job_ids)
    assert run.of("m2").job_ids
    assert run.result.duration_s < 60


def test_an_entry_that_does_not_wait() -> None:
    """`wait: false` of an entry leaves its own job alone; in a group anybody who waits has it followed."""
    alone = rehearse(manifest_text(model(1, wait=False)), make_scenario(default_model={"duration": 30}))
    assert (alone.outcome.status, len(alone.calls)) == (Status.ACCEPTED, 1)
    group = rehearse(manifest_text(wh(1, wait=False), wh(2)), scenario(1, 2))
    assert set(group.statuses.values()) == {Status.SUCCEEDED}


def test_a_group_has_its_longest_timeout() -> None:
    """The one who sends follows as long as the most patient of the group."""
    run = rehearse(manifest_text(wh(1, timeout=5), wh(2, timeout=60)), scenario(1, 2, m1={"duration": 30}))
    assert set(run.statuses.values()) == {Status.SUCCEEDED}


def test_a_long_scope_is_several_calls_and_one_outcome() -> None:
    """1,500 tables: calls below 8,000 bytes, one after another, every name once, each part with the schemas it names."""
    tables = [f"s{n % 3}.table_with_name_{n:04d}" for n in range(1500)]
    run = rehearse(manifest_text(wh(1, schemas=["s0", "s1", "s2"], tables=tables)), scenario(1))
    assert run.outcome.status is Status.SUCCEEDED
    assert len(run.posts) > 3
    assert all(call.url_bytes <= 8000 for call in run.posts)
    assert [name for call in run.posts for name in call.query["tables"].split(",")] == tables
    assert all(call.query["schemas"] == "s0,s1,s2" for call in run.posts)
    assert overlaps(run.calls) == []
    assert len(run.outcome.job_ids) == len(run.posts) == run.outcome.attempts


def test_a_part_that_does_not_succeed_ends_the_scope() -> None:
    """What was sent before stands: job ids are kept, a warning says how far it came, and each call has its retries."""
    tables = [f"s.table_with_a_long_name_{n:04d}" for n in range(900)]
    text = manifest_text(wh(1, schemas=["s"], tables=tables, retries=1))
    whole = rehearse(text, scenario(1))
    count = len(whole.posts)
    assert count >= 3
    rejected = rehearse(text, scenario(1, faults=({"method": "POST", "nth": [3], "status": 400},)))
    assert (rejected.outcome.status, len(rejected.outcome.job_ids)) == (Status.REJECTED, 2)
    assert any(warning.startswith("2 of ") for warning in rejected.outcome.warnings)
    unavailable = {"method": "POST", "nth": [count], "status": 503, "headers": {"Retry-After": "1"}}
    again = rehearse(text, scenario(1, faults=(unavailable,)))
    assert (again.outcome.status, again.outcome.attempts) == (Status.SUCCEEDED, count + 1)


def test_a_scope_that_a_deadline_cut_is_no_target_that_was_not_started() -> None:
    """Where some calls of a scope were sent and the rest was not, the outcome is `interrupted` and keeps the job ids."""
    tables = [f"s.table_with_a_long_name_{n:04d}" for n in range(900)]
    text = manifest_text(wh(1, schemas=["s"], tables=tables), wh(2, schemas=["x"]), model(3))
    staged = scenario(1, 2, faults=({"method": "POST", "path": uuid(3), "always": True, "status": 400, "delay": 5},))
    run = rehearse(text, staged, settings=RunSettings(max_failures=1))
    assert (run.of("m1").status, len(run.of("m1").job_ids)) == (Status.INTERRUPTED, 1)
    assert any("calls of this scope" in warning for warning in run.of("m1").warnings)
    assert run.of("m2").status is Status.NOT_STARTED


class Broken(Recorder):
    """Breaks at some step of one model's refresh."""

    def __init__(self, step: str, model_id: str, error: Exception | None = None) -> None:
        self._step, self._model_id = step, model_id
        self._error = error or RuntimeError("a fault of this program")

    def _break(self, step: str, refresh: Refresh) -> None:
        if step == self._step and refresh.sender.model_id == self._model_id:
            raise self._error

    def intended(self, refresh: Refresh, part: int, attempt: int) -> None:
        self._break("intended", refresh)

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        self._break("answered", refresh)

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        self._break("polled", refresh)


@pytest.mark.parametrize(
    "step, status", [("intended", Status.ERROR), ("answered", Status.UNKNOWN), ("polled", Status.UNKNOWN)]
)
def test_a_fault_in_one_lane_costs_only_that_lane(step: str, status: Status) -> None:
    """A fault of the program ends one connection's targets, `internal`, and says whether something may have been sent."""
    models = [model(n, **({"schemas": ["y"]} if n == 2 else {})) for n in range(1, 6)]
    text = manifest_text(*models, model(6, connection="c2", schemas=["x"]))
    run = rehearse(text, make_scenario(default_model={"duration": 5}), recorder=Broken(step, uuid(2)))
    broken = run.of("m2")
    assert broken.error is not None
    assert (broken.status, broken.error.kind) == (status, "internal")
    assert len(broken.job_ids) == (step != "intended")
    behind = run.of("m6")
    assert behind.error is not None
    assert (behind.status, behind.error.kind, behind.attempts) == (Status.ERROR, "internal", 0)
    assert [run.of(f"m{n}").status for n in (1, 3, 4, 5)] == [Status.SUCCEEDED] * 4
    assert len(run.witness.of(LaneFailed)) == 1
    assert run.result.stats.requests == len(run.calls)


def test_a_journal_that_fails_ends_the_run_in_order() -> None:
    """Where an intent cannot be written down nothing more is sent, every target has its outcome, and the run says why."""
    fault = OmniRefreshError("the journal cannot be written")
    text = manifest_text(*(model(n) for n in range(1, 6)), model(6, connection="c2", schemas=["x"]), workers=1)
    run = rehearse(text, make_scenario(default_model={"duration": 5}), recorder=Broken("intended", uuid(2), fault))
    assert run.result.abort is fault
    assert [o.name for o in run.outcomes] == [f"m{n}" for n in range(1, 7)]
    assert {run.of(n).status for n in ("m2", "m4", "m5", "m6")} == {Status.NOT_STARTED}
    assert len(run.posts) <= 2
