"""What answers of the server make of a target, in whole runs: a wrong `succeeded` or `accepted` is worse than an `unknown`."""

import pytest

from orchestrator.engine.outcome import Outcome, Status
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse

JOB = "6f0d1c1e-0000-4000-8000-000000000001"
OTHER = "6f0d1c1e-0000-4000-8000-000000000002"


def refreshed(*answer: object, polled: object = None, status: int = 200) -> Rehearsal:
    """A run over one model whose refresh call is answered with `answer` (none: no body), and each poll with `polled`."""
    reply = {"body": answer[0]} if answer else {"raw": ""}
    rules: list[dict[str, object]] = [{"method": "POST", "always": True, "status": status, **reply}]
    if polled is not None:
        rules.append({"method": "GET", "path": "/jobs/", "always": True, "status": 200, "body": polled})
    staged = make_scenario(default_model={"duration": 5}, faults=rules)
    return rehearse(manifest_text(model(1, timeout=20, retries=1)), staged)


def polled(body: object) -> Outcome:
    """The outcome of a target whose polls are answered with `body`."""
    return refreshed({"jobId": JOB, "modelId": "m", "status": "running"}, polled=body).outcome


@pytest.mark.parametrize(
    "answer, words",
    [
        ({"error": "Internal", "message": "refresh could not be queued"}, "refresh could not be queued"),
        ({"detail": "Forbidden by policy", "status": 403}, "Forbidden by policy"),
        ({"success": False, "message": "not today"}, "not today"),
        ({"status": "running", "error": "no warehouse"}, "no warehouse"),
        ({"status": "success"}, "success"),
        ({"modelId": "m"}, "modelId"),
        ({}, "no job id"),
    ],
)
def test_an_error_in_a_200_is_unknown(answer: object, words: str) -> None:
    """A 200 that names neither a job nor its state ends `unknown` with the server's words, after one call."""
    run = refreshed(answer)
    outcome = run.outcome
    assert (outcome.status, outcome.status.is_good, len(run.calls)) == (Status.UNKNOWN, False, 1)
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.http_status) == ("unreadable", 200)
    assert words in outcome.error.message


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_2xx_without_a_body_is_unknown(status: int) -> None:
    """A 2xx without a body does not say that a refresh was accepted: it may run, and is not sent again."""
    run = refreshed(status=status)
    assert (run.outcome.status, len(run.calls)) == (Status.UNKNOWN, 1)


def test_a_202_without_a_body_is_accepted() -> None:
    """The status 202 means "accepted" by itself; the end is not known, and a warning says so."""
    run = refreshed(status=202)
    assert (run.outcome.status, len(run.calls)) == (Status.ACCEPTED, 1)
    assert any("not known" in warning for warning in run.outcome.warnings)


@pytest.mark.parametrize("job_id", [None, "", {}, "x" * 201])
def test_accepted_without_a_job_id(job_id: object) -> None:
    """The documented answer without a usable job id is `accepted`, with a warning that its end is not known."""
    run = refreshed({"jobId": job_id, "modelId": "m", "status": "running"})
    assert (run.outcome.status, run.outcome.job_status, len(run.calls)) == (Status.ACCEPTED, "RUNNING", 1)
    assert any("no job id" in warning and "not known" in warning for warning in run.outcome.warnings)


@pytest.mark.parametrize(
    "answer, status",
    [
        ({"status": "completed"}, Status.SUCCEEDED),
        ({"jobId": JOB, "status": "COMPLETE"}, Status.SUCCEEDED),
        ({"jobId": JOB, "status": "failed"}, Status.FAILED),
        ({"jobId": JOB, "status": "cancelled"}, Status.FAILED),
    ],
)
def test_a_refresh_answer_may_be_final(answer: object, status: Status) -> None:
    """A job that has ended in the answer to its refresh call is not polled."""
    run = refreshed(answer)
    assert (run.outcome.status, len(run.calls)) == (status, 1)


@pytest.mark.parametrize(
    "answer",
    [
        {"jobId": JOB, "status": "success"},
        {"status": "success", "data": {"job_id": JOB, "status": "RUNNING"}},
        {"status": "COMPLETED", "job": {"id": JOB, "status": "QUEUED"}},
        {"jobId": JOB, "status": "!COMPLETED"},
        {"jobId": JOB, "status": "completed", "success": False},
        {"jobId": JOB, "error": "partial outage"},
    ],
)
def test_a_job_is_followed_if_its_end_is_in_doubt(answer: object) -> None:
    """A word that may be the call's ends nothing: the job is polled, and its own word decides."""
    run = refreshed(answer, polled={"job_type": "refresh_schema", "job_id": JOB, "status": "FAILED"})
    assert (run.outcome.status, run.outcome.job_ids, len(run.polls)) == (Status.FAILED, (JOB,), 1)


@pytest.mark.parametrize(
    "body",
    [
        {"job_type": "refresh_schema", "job_id": OTHER, "status": "COMPLETED"},
        {"job_type": "dbt_sync", "job_id": JOB, "status": "COMPLETED"},
        {"status": "success", "data": {"job_id": JOB}},
        {"status": "COMPLETED", "error": "no such table"},
        {"status": "FAILED", "job": {"status": "COMPLETED"}},
        {"error": "boom"},
    ],
)
def test_a_poll_answer_about_something_else_is_unreadable(body: object) -> None:
    """An answer that is not about this very job, or not for sure, counts as unreadable: retried, then `unknown`."""
    outcome = polled(body)
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind, outcome.job_ids) == (Status.UNKNOWN, "poll_failed", (JOB,))
    assert outcome.polls > 2


@pytest.mark.parametrize(
    "body, status",
    [
        ({"status": "success", "data": {"job_id": JOB, "status": "RUNNING"}}, Status.TIMED_OUT),
        ({"status": "success", "data": {"job_id": JOB, "status": "COMPLETED"}}, Status.SUCCEEDED),
        ({"status": "COMPLETED", "job": {"status": "FAILED"}}, Status.FAILED),
        ({"job_id": JOB.upper(), "job_type": "REFRESH_SCHEMA", "status": "completed"}, Status.SUCCEEDED),
        ({"job_id": JOB, "status": "!COMPLETED"}, Status.TIMED_OUT),
        ({"job_id": JOB, "status": "COMPLETED\u200b"}, Status.TIMED_OUT),
    ],
)
def test_the_jobs_own_word_decides(body: object, status: Status) -> None:
    """The innermost status of the job that was asked for decides, and only the word itself."""
    assert polled(body).status is status


def test_one_wrong_answer_costs_a_job_nothing() -> None:
    """After an answer about another job the next poll is answered rightly, and the target succeeds."""
    wrong = {
        "method": "GET",
        "path": "/jobs/",
        "nth": [1],
        "status": 200,
        "body": {"job_id": OTHER, "status": "FAILED"},
    }
    run = rehearse(manifest_text(model(1)), make_scenario(default_model={"duration": 5}, faults=[wrong]))
    assert (run.outcome.status, len(run.posts)) == (Status.SUCCEEDED, 1)


def test_a_servers_words_are_bounded() -> None:
    """A job's id and status come from the server: each is one line of bounded length in the outcome."""
    outcome = polled({"status": "odd\n::error::" + "x" * 5000})
    assert outcome.job_status is not None
    assert len(outcome.job_status) <= 100
    assert outcome.job_status.isprintable()
    assert outcome.error is not None
    assert outcome.error.last_status == outcome.job_status
    words = refreshed({"error": "e" * 5000}).outcome.error
    assert words is not None
    assert len(words.message) <= 2000
    assert refreshed({"jobId": "a\nb", "status": "running"}).outcome.job_ids == ()
