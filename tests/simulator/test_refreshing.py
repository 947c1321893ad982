"""Starting a refresh and following its job: the documented answers, errors and effects."""

from typing import Any

import pytest

from orchestrator.simulator.staging import branch_id, model_id
from tests.simulator.conversation import Counter

SALES = model_id("sales")
OTHER = "7d0c5ad1-7d0d-4f2c-9a57-0c1f6e1f9a10"


def _sales(**traits: object) -> list[dict[str, object]]:
    return [{"name": "sales", **traits}]


def _status(counter: Counter, job_id: str, at_s: float) -> str:
    counter.now_s = at_s
    status, body = counter.get(f"/jobs/{job_id}/status")
    return str(body["status"]) if status == 200 else f"{status} {body['message']}"


def test_a_refresh_starts_a_job_that_ends_after_its_duration() -> None:
    """The answer names job and model; the job runs until its duration is over, and is then completed for ever."""
    counter = Counter(models=_sales(duration=8))
    status, body = counter.refresh(SALES.upper(), "?hard_refresh=true")
    assert status == 200
    assert body == {"jobId": body["jobId"], "modelId": SALES.upper(), "status": "running"}
    assert [_status(counter, body["jobId"], at) for at in (0, 7.9, 8, 9999)] == [
        *("RUNNING", "RUNNING", "COMPLETED", "COMPLETED")
    ]
    assert counter.get(f"/jobs/{body['jobId'].upper()}/status")[1] == {
        "job_id": body["jobId"],
        "job_type": "refresh_schema",
        "status": "COMPLETED",
    }


def test_a_refresh_may_fail_and_succeed_the_next_time() -> None:
    """Each refresh of a model has its own word; the last one goes for all that follow."""
    counter = Counter(models=_sales(duration=1, result=["FAILED", "COMPLETED"]))
    jobs = [counter.refresh(SALES)[1]["jobId"] for _ in range(3)]
    assert [_status(counter, job, 1) for job in jobs] == ["FAILED", "COMPLETED", "COMPLETED"]


def test_a_job_may_never_end() -> None:
    """With `duration: never` a job runs on, and the log tells no end."""
    counter = Counter(models=_sales(duration="never"))
    job = counter.refresh(SALES)[1]["jobId"]
    assert _status(counter, job, 1e9) == "RUNNING"
    assert counter.calls[0].finished_s is None
    assert counter.calls[0].accepted


@pytest.mark.parametrize(
    "duration,low,high", [([2, 5], 2, 5), ({"median": 60, "sigma": 1, "cap": 900}, 0, 900)], ids=str
)
def test_durations_are_drawn_and_the_same_for_a_seed(duration: Any, low: float, high: float) -> None:
    """A drawn duration lies within its bounds, and is the same for a seed, a model and a refresh, in whatever order."""

    def drawn(seed: int, names: list[str]) -> dict[str, float | None]:
        counter = Counter(seed, models=[{"name": name, "duration": duration} for name in ("a", "b", "c")])
        for name in names:
            counter.refresh(model_id(name))
        return {call.model_id or "": call.duration_s for call in counter.calls}

    first = drawn(0, ["a", "b", "c"])
    assert len(set(first.values())) > 1
    assert all(value is not None and low <= value <= high for value in first.values())
    assert drawn(0, ["c", "a", "b"]) == first
    assert drawn(1, ["a", "b", "c"]) != first


@pytest.mark.parametrize(
    "query,refusal",
    [
        ("?branch_id=x", "400 Bad Request: branch_id: Invalid uuid"),
        ("?hard=true", "400 Bad Request: Unrecognized key(s) in object: 'hard'"),
        ("?a=1&b=2", "400 Bad Request: Unrecognized key(s) in object: 'a', 'b'"),
        ("?schemas=a", "400 Bad Request: selective schemas/tables filters require hard_refresh=false"),
        ("?tables=a&hard_refresh=true", "400 Bad Request: selective schemas/tables filters require hard_refresh=false"),
        (
            "?hard_refresh=True",
            "400 Bad Request: hard_refresh: Invalid enum value. Expected 'true' | 'false', received 'True'",
        ),
        ("?schemas=a&hard_refresh=false&schemas=b", "400 Bad Request: schemas: Expected string, received array"),
        (
            f"?branch_id={OTHER}",
            "400 Bad Request: branch_id must not be provided when branch schema refresh is not enabled",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_in_the_documented_words(query: str, refusal: str) -> None:
    """Each wrong parameter of a refresh is 400, in the server's words, and starts nothing."""
    counter = Counter(models=_sales())
    assert counter.refusal(SALES, query) == refusal
    assert not counter.calls[0].accepted


def test_a_model_that_is_not_there() -> None:
    """An unknown uuid is 404, anything else 400."""
    counter = Counter(models=_sales())
    assert counter.refusal(OTHER) == "404 Not Found: Model not found"
    assert counter.refusal("sales") == "400 Bad Request: modelId: Invalid uuid"


def test_a_default_model_answers_to_any_uuid() -> None:
    """With `default_model` every uuid is a model, each on a connection of its own, or on the one that is named."""
    counter = Counter(default_model={"duration": 3})
    assert counter.refresh(OTHER)[0] == 200
    assert counter.refresh(OTHER.upper())[0] == 200
    assert counter.refresh(model_id("x"))[0] == 200
    assert len({call.connection_id for call in counter.calls}) == 2
    named = Counter(default_model={"connection": "shared"})
    assert named.refresh(OTHER)[0] == named.refresh(model_id("x"))[0] == 200
    assert len({call.connection_id for call in named.calls}) == 1


def test_branches_are_needed_where_branch_based_refresh_is_on() -> None:
    """Without a branch 400, with a foreign one 404, with one of the model's own, by derived or given id, 200."""
    branches = ["nightly/schema", {"name": "given", "id": OTHER}]
    counter = Counter(models=_sales(branches=branches, connection={"branch_based": True}))
    assert counter.refusal(SALES) == "400 Bad Request: branch_id is required when branch schema refresh is enabled"
    missing = "404 Not Found: Branch not found or does not belong to the model's shared model"
    assert counter.refusal(SALES, f"?branch_id={SALES}") == missing
    assert counter.refresh(SALES, f"?branch_id={branch_id(SALES, 'nightly/schema')}")[0] == 200
    assert counter.refresh(SALES, f"?branch_id={OTHER.upper()}")[0] == 200
    assert [call.branch_id for call in counter.calls][-1] == OTHER


def test_a_branch_of_the_shared_model_serves_what_builds_on_it() -> None:
    """An extension takes its base's branches, a schema model those of the connection's shared models."""
    connection = {"name": "wh", "branch_based": True}
    counter = Counter(
        connections=[connection],
        models=[
            *_sales(branches=["b"], connection="wh"),
            {"name": "extension", "kind": "SHARED_EXTENSION", "base": "sales", "connection": "wh"},
            {"name": "schema", "kind": "SCHEMA", "connection": "wh"},
            {"name": "elsewhere", "branches": ["b"]},
        ],
    )
    query = f"?branch_id={branch_id(SALES, 'b')}"
    assert [counter.refresh(model_id(name), query)[0] for name in ("extension", "schema")] == [200, 200]
    foreign = f"?branch_id={branch_id(model_id('elsewhere'), 'b')}"
    assert [counter.refresh(model_id(name), foreign)[0] for name in ("extension", "schema")] == [404, 404]


@pytest.mark.parametrize(
    "role,others,status",
    [
        ("CONNECTION_ADMIN", 1, 200),
        ("MODELER", 0, 200),
        ("MODELER", 1, 403),
        ("QUERIER", 0, 403),
        ("NO_ACCESS", 0, 403),
    ],
)
def test_who_may_refresh(role: str, others: int, status: int) -> None:
    """A connection admin may, a modeler only if the connection has one shared model; no other role may."""
    models = [*_sales(connection="wh"), *({"name": f"other {n}", "connection": "wh"} for n in range(others))]
    counter = Counter(connections=[{"name": "wh", "role": role}], models=models)
    assert counter.refresh(SALES)[0] == status


def test_a_forbidden_model_and_one_of_the_wrong_kind() -> None:
    """A forbidden model is 403; a workbook, or a branch named as a model, 400."""
    counter = Counter(models=[*_sales(forbidden=True), {"name": "book", "kind": "WORKBOOK", "branches": ["b"]}])
    assert counter.refusal(SALES) == "403 Forbidden: Insufficient permissions"
    assert counter.refusal(model_id("book")) == "400 Bad Request: Models of kind WORKBOOK cannot be refreshed"
    branch = branch_id(model_id("book"), "b")
    assert counter.refusal(branch) == "400 Bad Request: Models of kind BRANCH cannot be refreshed"


def test_a_second_refresh_on_a_connection_may_be_refused() -> None:
    """With `overlap: refuse` a connection whose refresh still runs answers 409, other connections do not."""
    models = [{"name": "sales", "connection": "wh"}, {"name": "twin", "connection": "wh"}, {"name": "far"}]
    counter = Counter(overlap="refuse", models=models)
    assert counter.refresh(SALES)[0] == 200
    assert counter.refusal(model_id("twin")).startswith("409 Conflict: A schema refresh is already running")
    assert counter.refresh(model_id("far"))[0] == 200
    counter.now_s = 8.0
    assert counter.refresh(model_id("twin"))[0] == 200
    easy = Counter(models=models)
    assert [easy.refresh(model_id(name))[0] for name in ("sales", "twin")] == [200, 200]


def test_the_words_of_the_vendors_cli() -> None:
    """Status words, the job's type and the refresh's status are those that the scenario names."""
    answers = {"running": "IN_PROGRESS", "job_type": "REFRESH_SCHEMA", "refresh_status": "queued"}
    counter = Counter(answers=answers, models=_sales())
    body = counter.refresh(SALES)[1]
    assert body["status"] == "queued"
    assert counter.get(f"/jobs/{body['jobId']}/status")[1] == {
        "job_id": body["jobId"],
        "job_type": "REFRESH_SCHEMA",
        "status": "IN_PROGRESS",
    }


def test_an_answer_without_a_job_id() -> None:
    """With `job_id: false` a refresh is accepted without its job's id; the log has it."""
    counter = Counter(answers={"job_id": False}, models=_sales())
    assert counter.refresh(SALES) == (200, {"modelId": SALES, "status": "running"})
    assert counter.calls[0].job_id is not None


@pytest.mark.parametrize("result,word", [("COMPLETED", "completed"), ("FAILED", "failed")])
def test_a_refresh_may_be_over_at_once(result: str, word: str) -> None:
    """With `final_at_once` a refresh of duration 0 is told as ended in its own answer; longer ones are not."""
    models = [*_sales(duration=0, result=result), {"name": "slow", "duration": 1}]
    counter = Counter(answers={"final_at_once": True}, models=models)
    assert [counter.refresh(id_)[1]["status"] for id_ in (SALES, model_id("slow"))] == [word, "running"]
    assert [call.tells_end for call in counter.calls] == [True, False]


def test_a_job_is_unknown_at_first_and_forgotten_at_last() -> None:
    """A job is 404 until it is visible, and again once it is no longer kept."""
    counter = Counter(answers={"job_visible_after": 3, "job_kept": 100}, models=_sales(duration=8))
    job = counter.refresh(SALES)[1]["jobId"]
    unknown = "404 Not Found: Job not found"
    told = [_status(counter, job, at) for at in (0, 2.9, 3, 8, 107.9, 108)]
    assert told == [unknown, unknown, "RUNNING", "COMPLETED", "COMPLETED", unknown]


def test_a_job_that_is_not_there() -> None:
    """An unknown job is 404, a malformed id 400, a parameter 400."""
    counter = Counter(models=_sales())
    assert counter.words(f"/jobs/{OTHER}/status") == "404 Not Found: Job not found"
    assert counter.words("/jobs/x/status") == "400 Bad Request: jobId: Invalid uuid"
    assert counter.words(f"/jobs/{OTHER}/status?x=1") == "400 Bad Request: Unrecognized key(s) in object: 'x'"


@pytest.mark.parametrize(
    "shape,body",
    [
        ("message", {"error": "404", "message": "Not Found: Model not found"}),
        ("detail", {"detail": "Not Found: Model not found", "status": 404}),
        (
            "scim",
            {
                "detail": "Not Found: Model not found",
                "status": 404,
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            },
        ),
        ("error", {"error": "Not Found: Model not found"}),
    ],
)
def test_errors_come_in_four_shapes(shape: str, body: dict[str, object]) -> None:
    """Each documented shape of an error holds the server's words."""
    counter = Counter(answers={"error_shape": shape})
    assert counter.refresh(OTHER) == (404, body)
