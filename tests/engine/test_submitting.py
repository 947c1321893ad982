"""The refresh call: refused, never sent, unknown, and what is sent again."""

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.engine.run_context import RunSettings
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse, uuid

REFRESH = "/refresh$"


def scenario(*faults: dict[str, object], duration: float = 3.0, **sections: object) -> Scenario:
    """Every model exists, its job takes `duration` seconds, and this goes wrong with refresh calls."""
    rules = [{"method": "POST", "path": REFRESH, **fault} for fault in faults]
    return make_scenario(default_model={"duration": duration}, faults=rules, **sections)


def one(staged: Scenario, **keys: object) -> Rehearsal:
    """A run over one model."""
    return rehearse(manifest_text(model(1, **keys)), staged)


def test_a_refresh_is_sent_as_the_contract_says() -> None:
    """POST without a body, `hard_refresh` always, branch and scope only when set, nothing else."""
    run = one(scenario())
    (post,) = run.posts
    assert (post.path, dict(post.query), post.body_bytes) == (
        f"/api/v1/models/{uuid(1)}/refresh", {"hard_refresh": "true"}, 0,
    )  # fmt: skip
    outcome = run.outcome
    assert outcome.status is Status.SUCCEEDED
    assert (outcome.attempts, outcome.job_status, len(outcome.job_ids)) == (1, "COMPLETED", 1)
    assert outcome.error is None


def test_a_scope_is_sent_soft() -> None:
    """A model with a scope and no mode of its own is refreshed soft, with the names as written."""
    (post,) = one(scenario(), schemas=["no", "Ünï"], tables=["no.1e3"]).posts
    assert dict(post.query) == {"hard_refresh": "false", "schemas": "no,Ünï", "tables": "no.1e3"}


@pytest.mark.parametrize(
    "status, kind",
    [
        (400, "bad_request"),
        (403, "forbidden"),
        (404, "not_found"),
        (414, "uri_too_long"),
        (407, "refused"),
        (418, "refused"),
        (302, "redirect"),
        (307, "redirect"),
        (308, "redirect"),
    ],
)
def test_a_refusal_ends_its_own_target_alone(status: int, kind: str) -> None:
    """A 4xx or a redirect is `rejected` with the server's words after one call; the next model goes on."""
    staged = make_scenario(
        default_model={"duration": 2},
        faults=[{"path": f"{uuid(1)}/refresh", "always": True, "status": status, "message": "because"}],
    )
    run = rehearse(manifest_text(model(1), model(2)), staged)
    first = run.of("m1")
    assert (first.status, first.attempts, len(run.posts)) == (Status.REJECTED, 1, 2)
    assert first.error is not None
    assert (first.error.kind, first.error.http_status) == (kind, status)
    assert first.error.hint
    assert run.of("m2").status is Status.SUCCEEDED
    assert all(call.method == "POST" for call in run.calls if call.path.endswith("/refresh"))


def test_a_connection_that_is_busy_for_a_moment_is_tried_again() -> None:
    """409 started nothing: it is sent again within `retries`, slowly; a server that stays busy ends it `rejected`."""
    busy = {"path": f"{uuid(1)}/refresh", "nth": [1, 2], "status": 409, "message": "already running"}
    run = rehearse(manifest_text(model(1)), make_scenario(default_model={"duration": 2}, faults=[busy]))
    assert (run.outcome.status, run.outcome.attempts, len(run.posts)) == (Status.SUCCEEDED, 3, 3)
    first, second, third = (post.t_s for post in run.posts)
    assert second - first >= 1
    assert third - second >= 2
    always = {"path": f"{uuid(1)}/refresh", "always": True, "status": 409}
    stays = rehearse(manifest_text(model(1, retries=2)), make_scenario(faults=[always]))
    assert (stays.outcome.status, len(stays.posts)) == (Status.REJECTED, 3)
    assert stays.outcome.error is not None
    assert (stays.outcome.error.kind, stays.outcome.error.http_status) == ("conflict", 409)
    never = rehearse(manifest_text(model(1, retries=0)), make_scenario(faults=[always]))
    assert (never.outcome.status, len(never.posts)) == (Status.REJECTED, 1)


AMBIGUOUS = [
    pytest.param({"status": 500}, "server_error", id="500"),
    pytest.param({"status": 502, "raw": "<h1>Bad Gateway</h1>"}, "server_error", id="502-html"),
    pytest.param({"status": 503}, "server_error", id="503-without-retry-after"),
    pytest.param({"status": 504}, "server_error", id="504"),
    pytest.param({"drop": "reset"}, "cut_off", id="reset"),
    pytest.param({"drop": "close"}, "cut_off", id="close"),
    pytest.param({"drop": "headers"}, "cut_off", id="cut-in-headers"),
    pytest.param({"drop": "body"}, "cut_off", id="cut-in-body"),
    pytest.param({"delay": 31}, "timeout", id="no-answer-in-30s"),
    pytest.param({"status": 200, "raw": "<html>welcome</html>"}, "unreadable", id="unreadable"),
]


@pytest.mark.parametrize("fault, kind", AMBIGUOUS)
def test_what_may_have_arrived_is_not_sent_again(fault: dict[str, object], kind: str) -> None:
    """A refresh call whose result is not known is one call and `unknown`, with a hint to look."""
    run = one(scenario({"effect": "before", "nth": [1], **fault}))
    outcome = run.outcome
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind, len(run.posts)) == (Status.UNKNOWN, kind, 1)
    assert "check in Omni" in outcome.error.hint


@pytest.mark.parametrize("fault, kind", AMBIGUOUS)
def test_resend_sends_it_again(fault: dict[str, object], kind: str) -> None:
    """With `on_ambiguous: resend` the same call goes again, and the new job is followed."""
    run = one(scenario({"nth": [1], **fault}), on_ambiguous="resend")
    assert (run.outcome.status, run.outcome.attempts, len(run.posts)) == (Status.SUCCEEDED, 2, 2)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_are_counted_from_the_second_call(retries: int) -> None:
    """`retries: N` is N calls after the first, each after a longer wait, and then the fate stays unknown."""
    run = one(scenario({"always": True, "status": 500}), on_ambiguous="resend", retries=retries)
    assert (run.outcome.status, run.outcome.attempts, len(run.posts)) == (Status.UNKNOWN, retries + 1, retries + 1)
    waits = [b.t_s - a.t_s for a, b in zip(run.posts, run.posts[1:], strict=False)]
    for number, wait_s in enumerate(waits):
        assert 0.5 * 2**number <= wait_s <= 0.75 * 2**number + 0.01


@pytest.mark.parametrize(
    "retry_after, least_s, most_s",
    [("7", 7.0, 7.1), ("2.5", 2.5, 2.6), ("0", 0.0, 1.0), ("99999", 600.0, 600.1)],
)
def test_503_with_retry_after_was_refused_and_comes_again(retry_after: str, least_s: float, most_s: float) -> None:
    """503 with a Retry-After that makes sense is sent again after it, without `resend`; one of no sense leaves it unknown."""
    run = one(scenario({"nth": [1], "status": 503, "headers": {"Retry-After": retry_after}}))
    if retry_after == "0":
        assert (run.outcome.status, len(run.posts)) == (Status.UNKNOWN, 1)
        return
    first, second = run.posts
    assert run.outcome.status is Status.SUCCEEDED
    assert least_s <= second.t_s - first.t_s <= most_s
    assert run.outcome.attempts == 2


def test_503_with_retry_after_uses_up_its_retries() -> None:
    """A server that is unavailable for good ends the target `rejected` after its retries: nothing was started."""
    run = one(scenario({"always": True, "status": 503, "headers": {"Retry-After": "1"}}), retries=2)
    assert (run.outcome.status, len(run.posts)) == (Status.REJECTED, 3)
    assert run.outcome.error is not None
    assert run.outcome.error.kind == "unavailable"


def test_what_never_left_is_sent_again() -> None:
    """A refused connection is proven unsent: it is tried again without `resend`, and costs no request."""
    run = one(scenario(outages=[{"from": 0, "until": 1.5}]))
    assert run.outcome.status is Status.SUCCEEDED
    assert run.outcome.attempts > 1
    assert (len(run.posts), run.result.stats.requests) == (1, len(run.calls))


def test_a_host_without_a_name_is_an_error() -> None:
    """A closed port ends the target `error` after its retries, with nothing on the wire."""
    run = one(scenario(outages=[{"from": 0, "until": 900}]), retries=1)
    outcome = run.outcome
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind, outcome.attempts) == (Status.ERROR, "connect", 2)
    assert (outcome.job_ids, run.result.stats.requests) == ((), 0)


def test_every_refresh_call_has_a_connection_of_its_own() -> None:
    """A server that closes idle connections at once costs no refresh call: none goes over a kept-alive one."""
    models = [model(n) for n in range(1, 11)]
    staged = make_scenario(default_model={"duration": 4}, keep_alive=1.0)
    run = rehearse(manifest_text(*models), staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert len(run.posts) == 10


@pytest.mark.parametrize(
    "job_id, path", [("a/b?c#d", "a%2Fb%3Fc%23d"), (123, "123"), ("..", "%2E%2E"), ("ü", "%C3%BC")]
)
def test_a_job_id_is_escaped(job_id: object, path: str) -> None:
    """Whatever a server calls its job, the poll asks for exactly that, under `job_id` as under `jobId`."""
    staged = make_scenario(
        default_model={},
        faults=[
            {"method": "POST", "always": True, "status": 200, "body": {"job_id": job_id}},
            {"method": "GET", "always": True, "status": 200, "body": {"status": "COMPLETED"}},
        ],
    )
    run = one(staged)
    assert run.outcome.status is Status.SUCCEEDED
    assert [poll.path for poll in run.polls] == [f"/api/v1/jobs/{path}/status"]


def test_a_429_is_no_attempt() -> None:
    """However often a call is answered 429, it is not counted as an attempt, and the run goes on."""
    fault = {"nth": list(range(1, 13)), "status": 429, "headers": {"Retry-After": "1"}}
    run = one(scenario(fault), retries=0)
    assert (run.outcome.status, run.outcome.attempts, run.outcome.throttled) == (Status.SUCCEEDED, 1, 12)
    assert run.result.stats.throttled == 12


@pytest.mark.parametrize(
    "words, hint",
    [
        ("Bad Request: branch_id is required when branch schema refresh is enabled", "add `branch:`"),
        ("branch_id must not be provided when branch schema refresh is not enabled", "remove `branch:`"),
        ("branch_id is not allowed", "remove `branch:`"),
    ],
)
def test_what_the_server_says_of_branches_gets_its_own_hint(words: str, hint: str) -> None:
    """The two branch refusals are explained, and no branch is dropped or invented: one call."""
    run = one(scenario({"always": True, "status": 400, "message": words}))
    assert run.outcome.error is not None
    assert hint in run.outcome.error.hint
    assert len(run.posts) == 1


def test_the_servers_words_are_kept_and_bounded() -> None:
    """The message of a refusal is the server's, cut at 2,000 characters, and secrets are taken out of it."""
    staged = scenario({"always": True, "status": 400, "message": "hush " + "x" * 5000})
    run = rehearse(manifest_text(model(1)), staged, redact=lambda text: text.replace("hush", "***"))
    assert run.outcome.error is not None
    assert run.outcome.error.message.startswith("*** xxx")
    assert len(run.outcome.error.message) <= 2000


def test_a_job_id_that_cannot_be_sent() -> None:
    """A job whose id no URL can carry is lost from sight: `unknown`, and what was never sent is counted nowhere."""
    run = one(
        scenario({"always": True, "status": 200, "raw": '{"jobId": "\\ud800"}', "content_type": "application/json"})
    )
    assert (run.outcome.status, len(run.posts)) in {(Status.UNKNOWN, 1), (Status.ACCEPTED, 1)}
    assert run.result.stats.requests == len(run.calls) == 1


@pytest.mark.parametrize("closing", [RunSettings(deadline_s=100), RunSettings(max_failures=1)])
def test_probes_end_with_the_run(closing: RunSettings) -> None:
    """A run that ends while an instance is probed does not wait for it."""
    staged = make_scenario(default_model={}, faults=[{"always": True, "status": 500}])
    run = rehearse(manifest_text(*(model(n) for n in range(20)), workers=1), staged, settings=closing)
    assert run.result.duration_s <= 100.1
    assert {o.status for o in run.outcomes} == {Status.UNKNOWN, Status.NOT_STARTED}


def test_a_407_from_the_server_counts_as_a_call() -> None:
    """A 407 that is no answer to CONNECT came from the server: it counts in the window and is not sent again."""
    staged = make_scenario(default_model={"duration": 1}, faults=[{"always": True, "status": 407}])
    limit = {"requests": 8, "per": "60s"}
    text = manifest_text(*(model(n) for n in range(1, 17)), instance={"rate_limit": limit})
    run = rehearse(text, staged)
    assert set(run.statuses.values()) == {Status.REJECTED}
    assert len(run.posts) == 16
    assert run.result.stats.requests == len(run.calls)
    moments = [call.t_s for call in run.calls]
    assert all(late - early >= 60 for early, late in zip(moments, moments[8:], strict=False))
