"""Following a job: every word, every silence, and when it is over."""

from itertools import pairwise

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse, uuid

POLL = "/jobs/"


def scenario(*faults: dict[str, object], duration: object = 20, **sections: object) -> Scenario:
    """Every model exists, its job takes `duration` seconds, and this goes wrong with polls."""
    rules = [{"method": "GET", "path": POLL, **fault} for fault in faults]
    return make_scenario(default_model={"duration": duration, "result": "COMPLETED"}, faults=rules, **sections)


def one(staged: Scenario, **keys: object) -> Rehearsal:
    """A run over one model."""
    return rehearse(manifest_text(model(1, **keys)), staged)


@pytest.mark.parametrize("word", ["RUNNING", "IN_PROGRESS", "in progress", "QUEUED", "pending", "Frobnicating", "…"])
def test_every_unknown_word_means_not_done(word: str) -> None:
    """A job in whatever word that is not final is followed on to its end."""
    run = one(make_scenario(default_model={"duration": 15}, answers={"running": word}))
    assert run.outcome.status is Status.SUCCEEDED
    assert run.outcome.polls > 1


@pytest.mark.parametrize(
    "word, status",
    [
        ("COMPLETED", Status.SUCCEEDED),
        ("complete", Status.SUCCEEDED),
        ("Success", Status.SUCCEEDED),
        ("FAILED", Status.FAILED),
        ("error", Status.FAILED),
        ("CANCELLED", Status.FAILED),
    ],
)
def test_final_words(word: str, status: Status) -> None:
    """A final word in any spelling ends the target, and stands in its outcome; a failed job is never refreshed again."""
    run = one(make_scenario(default_model={"duration": 4, "result": word}))
    assert (run.outcome.status, run.outcome.job_status, len(run.posts)) == (status, word.upper(), 1)
    if status is Status.FAILED:
        assert run.outcome.error is not None
        assert (run.outcome.error.kind, run.outcome.error.last_status) == ("job_failed", word.upper())


def test_a_young_job_may_be_unknown_to_the_server() -> None:
    """However many 404 there are in a job's first 30 s, it is followed on; one refresh call."""
    run = one(make_scenario(default_model={"duration": 40}, answers={"job_visible_after": 29}))
    early = [poll for poll in run.polls if poll.status == 404]
    assert (run.outcome.status, len(run.posts)) == (Status.SUCCEEDED, 1)
    assert len(early) >= 3


def test_a_job_that_stays_unknown_is_lost() -> None:
    """Three 404 in a row after the first 30 s: `unknown` with the job's id, within a minute or so, and no second refresh."""
    run = one(make_scenario(default_model={"duration": 40}, answers={"job_visible_after": 3600}))
    late = [poll for poll in run.polls if poll.t_s - run.posts[0].t_s >= 30]
    outcome = run.outcome
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind, len(run.posts)) == (Status.UNKNOWN, "job_lost", 1)
    assert len(outcome.job_ids) == 1
    assert len(late) == 3
    assert run.result.duration_s < 90


def test_three_404_in_a_row_and_not_in_all() -> None:
    """A poll that is answered in between starts the count of 404 anew."""
    lost = {"status": 404, "message": "Not Found: Job not found"}
    run = one(scenario({"from": 32, "until": 300, "every": 2, **lost}, duration=200))
    misses = [poll.status for poll in run.polls if poll.t_s > 35]
    assert misses.count(404) > 3
    assert run.outcome.status is Status.SUCCEEDED


@pytest.mark.parametrize("status", [400, 403, 410])
def test_a_poll_that_is_refused_three_times_ends_unknown(status: int) -> None:
    """A key that may not follow the job: three refusals in a row, then `unknown` (never `failed`), with the server's words."""
    run = one(scenario({"always": True, "status": status, "message": "Job type not supported for status checks"}))
    outcome = run.outcome
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind, outcome.error.http_status) == (Status.UNKNOWN, "poll_refused", status)
    assert (len(run.polls), len(run.posts)) == (3, 1)


OUTAGES = [
    pytest.param({"status": 500}, id="500"),
    pytest.param({"status": 503}, id="503"),
    pytest.param({"status": 503, "headers": {"Retry-After": "2"}}, id="503-retry-after"),
    pytest.param({"drop": "reset"}, id="reset"),
    pytest.param({"drop": "body"}, id="cut-body"),
    pytest.param({"status": 200, "raw": '{"status": "COMP'}, id="truncated-json"),
    pytest.param({"status": 200, "raw": "<html>"}, id="html"),
    pytest.param({"status": 200, "body": {"state": 7}}, id="no-status"),
    pytest.param({"status": 408}, id="408"),
]


@pytest.mark.parametrize("fault", OUTAGES)
def test_a_poll_that_goes_wrong_harms_no_other_job(fault: dict[str, object]) -> None:
    """Whatever goes wrong with polls, for however long within the timeout: tried again, never a second refresh."""
    run = one(scenario({"from": 0, "until": 120, **fault}))
    assert (run.outcome.status, len(run.posts)) == (Status.SUCCEEDED, 1)
    assert run.outcome.polls == len(run.polls)


def test_a_mixed_outage_costs_a_job_little() -> None:
    """Reset, 502, 500, a closed listener, truncated JSON: the job is seen to have ended soon after the last of them."""
    staged = scenario(
        {"nth": [1], "drop": "reset"},
        {"nth": [2], "status": 502},
        {"nth": [3], "status": 500},
        {"nth": [4], "status": 200, "raw": '{"status": "COMP'},
        duration=5,
        outages=[{"from": 8, "until": 13}],
    )
    run = rehearse(manifest_text(model(1), model(2), model(3)), staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert len(run.posts) == 3
    assert run.result.duration_s < 60


def test_a_poll_waits_for_the_servers_retry_after() -> None:
    """503 with Retry-After on a poll: the job is polled again when that wait is over, not before."""
    run = one(scenario({"nth": [1], "status": 503, "headers": {"Retry-After": "40"}}))
    first, second = run.polls[:2]
    assert 40 <= second.t_s - first.t_s < 41


def test_after_the_timeout_only_retries_more() -> None:
    """Polls that go wrong are not counted until the timeout; after it `retries` more, then `unknown`."""
    run = one(scenario({"always": True, "status": 500}), timeout=60, retries=2)
    outcome = run.outcome
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind) == (Status.UNKNOWN, "poll_failed")
    late = [poll for poll in run.polls if poll.t_s - run.posts[0].t_s >= 60]
    assert len(late) == 1 + 2
    assert len(run.posts) == 1


def test_a_job_that_never_ends_times_out() -> None:
    """`timed_out` needs an answer that it is not done, to a poll at or after the timeout; with id and last word."""
    run = one(scenario(duration="never"), timeout=10)
    outcome = run.outcome
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind, outcome.error.last_status) == (
        Status.TIMED_OUT, "timed_out", "RUNNING",
    )  # fmt: skip
    assert outcome.job_ids
    assert 10 <= run.polls[-1].t_s - run.posts[0].t_s <= 12
    assert run.result.duration_s <= 12


@pytest.mark.parametrize("late_s", [0.0, 0.5, 30.0])
def test_a_job_that_is_seen_to_have_completed_succeeded(late_s: float) -> None:
    """COMPLETED is `succeeded` whenever it is seen: a job that ended by the last poll, at the timeout, did not time out."""
    staged = scenario({"from": 1, "until": 10.2 + late_s, "status": 500}, duration=10.0)
    run = one(staged, timeout=10, retries=9)
    assert run.outcome.status is Status.SUCCEEDED


def test_waiting_for_quota_is_not_counted() -> None:
    """A timeout runs from the accepted refresh: models that wait minutes for a turn do not time out."""
    models = [model(n, timeout=5) for n in range(1, 41)]
    limit = {"requests": 20, "per": "30s"}
    staged = make_scenario(default_model={"duration": 2}, limit={"requests": 20, "per": 30})
    run = rehearse(manifest_text(*models, instance={"rate_limit": limit}), staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert run.posts[-1].t_s > 30


def test_a_models_own_timeout_beats_the_default() -> None:
    """`timeout` of an entry overrides that of `defaults`."""
    models = [model(1, timeout=20), model(2)]
    run = rehearse(manifest_text(*models, defaults={"timeout": 5}), scenario(duration=12))
    assert run.statuses == {"m1": Status.SUCCEEDED, "m2": Status.TIMED_OUT}


@pytest.mark.parametrize("least_s, most_s", [(2.0, 60.0), (1.0, 3.0), (5.0, 5.0), (10.0, 30.0)])
def test_polls_keep_their_bounds(least_s: float, most_s: float) -> None:
    """No job is polled sooner than `poll.min` after the last poll, or later than `poll.max` while there is budget."""
    models = [model(n, poll={"min": f"{least_s}s", "max": f"{most_s}s"}) for n in (1, 2)]
    run = rehearse(manifest_text(*models), scenario(duration=180))
    for post in run.posts:
        asked = [post.t_s] + [poll.t_s for poll in run.polls if poll.job_id == post.job_id]
        gaps = [b - a for a, b in pairwise(asked)]
        assert min(gaps) >= least_s - 0.001
        assert max(gaps) <= most_s + 0.1


def test_an_idle_run_sees_an_end_soon() -> None:
    """With budget to spare a job's end is seen within seconds."""
    run = one(scenario(duration=47))
    (ended,) = [poll for poll in run.polls if poll.tells_end]
    assert ended.t_s - (run.posts[0].t_s + 47) <= 5


def test_what_an_outcome_counts_is_what_the_server_saw() -> None:
    """`polls`, `attempts`, times and durations of an outcome agree with the server's log."""
    run = one(scenario({"nth": [2], "status": 500}, duration=30), tags=["nightly"])
    outcome = run.outcome
    assert (outcome.polls, outcome.attempts) == (len(run.polls), 1)
    assert outcome.submitted_at is not None
    assert outcome.finished_at is not None
    assert outcome.duration_s == pytest.approx(run.polls[-1].t_s - run.posts[0].t_s, abs=0.01)
    assert (outcome.finished_at - outcome.submitted_at).total_seconds() == pytest.approx(outcome.duration_s, abs=0.01)
    assert outcome.queued_s == pytest.approx(0.0, abs=0.01)
    assert outcome.tags == ("nightly",)


def test_a_key_refused_while_a_job_runs_leaves_it_interrupted() -> None:
    """A job whose key was set aside is not lost: its outcome keeps its id, `interrupted`, and no failure is invented."""
    staged = make_scenario(default_model={"duration": 60}, keys=[{"key": "only", "refused_from": 10}])
    run = rehearse(manifest_text(model(1)), staged)
    assert (run.outcome.status, len(run.outcome.job_ids)) == (Status.INTERRUPTED, 1)
    assert run.result.refused_instances == ("sim",)


def test_models_share_no_fate() -> None:
    """One job that fails, one that is lost, one that never ends: three other models end well."""
    staged = make_scenario(
        default_model={"duration": 8},
        models=[
            {"id": uuid(1), "result": "FAILED"},
            {"id": uuid(2), "duration": "never"},
            {"id": uuid(3), "forbidden": True},
        ],
    )
    run = rehearse(manifest_text(*(model(n, timeout=30) for n in range(1, 7))), staged)
    assert [o.status for o in run.outcomes] == [
        Status.FAILED, Status.TIMED_OUT, Status.REJECTED, *[Status.SUCCEEDED] * 3,
    ]  # fmt: skip
