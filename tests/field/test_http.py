"""What people met on HTTP in tools like this one."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.errors import UsageError
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.staging import branch_id
from tests.omni.certificates import make_server_context, write_authority
from tests.rehearsal import manifest_text, model, rehearse, uuid


@pytest.mark.parametrize("close_after", [0.0, 0.001, 1.0, 5.0])
def test_a_server_that_closes_idle_connections(close_after: float) -> None:
    """Thirty models at a server that hangs up after each answer, sooner or later: one accepted refresh each, none lost."""
    staged = make_scenario(default_model={"duration": [1, 30]}, faults=[{"always": True, "close_after": close_after}])
    text = manifest_text(*(model(n, poll={"min": "1s", "max": "5s"}) for n in range(30)))
    run = rehearse(text, staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert sum(call.accepted for call in run.calls) == len(run.posts) == 30


AMBIGUOUS: list[dict[str, Any]] = [
    {"delay": 31}, {"status": 502, "raw": "<html>"}, {"status": 504}, {"drop": "headers"}, {"drop": "body"},
    {"drop": "reset"}, {"drop": "close"}, {"status": 500, "effect": "after", "delay": 3},
]  # fmt: skip


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_a_refresh_that_may_have_arrived(fault: dict[str, Any]) -> None:
    """It is sent once and `unknown`, with a hint how to check; only `on_ambiguous: resend` sends it again."""
    staged = make_scenario(
        default_model={"duration": 3}, faults=[{"method": "POST", "nth": [1], "effect": "before", **fault}]
    )
    run = rehearse(manifest_text(model(1)), staged)
    assert run.outcome.error is not None
    assert (run.outcome.status, len(run.posts)) == (Status.UNKNOWN, 1)
    assert "check in Omni" in run.outcome.error.hint
    again = rehearse(manifest_text(model(1, on_ambiguous="resend")), staged)
    assert (again.outcome.status, len(again.posts)) == (Status.SUCCEEDED, 2)


@pytest.mark.parametrize(
    "staged",
    [{"outages": [{"from": 0, "until": 2}]}, {"faults": [{"method": "POST", "nth": [1], "status": 429}]}],
    ids=["port refuses", "429"],
)
def test_a_refresh_that_did_not_arrive(staged: dict[str, Any]) -> None:
    """It is sent again and succeeds."""
    run = rehearse(manifest_text(model(1)), make_scenario(default_model={"duration": 3}, **staged))
    assert (run.outcome.status, sum(call.accepted for call in run.calls)) == (Status.SUCCEEDED, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_success(status: int) -> None:
    """No GET ever reaches the refresh path; the target is `rejected` and its message names where it points to."""
    staged = make_scenario(
        default_model={},
        faults=[
            {"method": "POST", "always": True, "status": status, "headers": {"Location": "https://other.invalid/api"}},
            {"method": "GET", "always": True, "status": 200, "body": {"status": "completed"}},
        ],
    )
    run = rehearse(manifest_text(model(1)), staged)
    assert run.outcome.error is not None
    assert (run.outcome.status, run.outcome.error.kind) == (Status.REJECTED, "redirect")
    assert "other.invalid" in run.outcome.error.message
    assert [call.method for call in run.calls] == ["POST"]


ODD = [
    "a b", "100%25", "a+b", "x&hard_refresh=true", "q=1#f", "Ünï", '"Q.uoted"', "slash/t", "\\", "?", ";", "'", "日本",
    "a%2Cb", "no", "0123", "{x}", "..", "ledger_*",
]  # fmt: skip


@pytest.mark.parametrize("key", ["schemas", "tables"])
def test_odd_names_arrive_as_they_are_written(key: str) -> None:
    """The decoded query holds exactly the names, one value a parameter, and none that was not meant."""
    scope = {"schemas": ["s"], key: ODD}
    (post,) = rehearse(manifest_text(model(1, **scope)), make_scenario(default_model={"duration": 1})).posts
    assert post.query[key].split(",") == ODD
    assert set(post.query) == {"hard_refresh", *scope}
    assert post.query_string.count("=") == len(post.query)


def test_a_branch_name_is_not_cut() -> None:
    """`feat/ui#123` is not `feat/ui`, in whatever order they are listed; a near name is no match."""
    names = ["feat/ui", "feat/ui#123", "feat/ui#12"]
    staged = make_scenario(
        connections=[{"name": "wh", "branch_based": True}],
        models=[{"id": uuid(1), "connection": "wh", "duration": 1, "branches": names}],
    )
    for name in names:
        run = rehearse(manifest_text(model(1, branch=name)), staged)
        assert run.posts[0].query["branch_id"] == branch_id(uuid(1), name)
    assert rehearse(manifest_text(model(1, branch="feat/ui#")), staged).posts == []


@pytest.mark.parametrize("limit", [8000, 8192])
@pytest.mark.parametrize("schemas", [["s"], ["s", "t"], None])
def test_a_scope_that_is_too_long_for_a_url(limit: int, schemas: list[str] | None) -> None:
    """1,500 tables of 20 characters: several calls within the limit that cover each name once, one outcome, no 414."""
    tables = [f"table_{n:014}" for n in range(1500)]
    text = manifest_text(model(1, schemas=schemas, tables=tables))
    run = rehearse(text, make_scenario(default_model={"duration": 1}, max_url=limit))
    assert run.outcome.status is Status.SUCCEEDED
    assert [name for post in run.posts for name in post.query["tables"].split(",")] == tables
    assert not [post for post in run.posts if post.status == 414]


def test_a_414_is_never_retried_unchanged() -> None:
    """A server with a smaller limit than is usual: no call that it answered 414 is sent a second time as it was."""
    tables = [f"table_{n:014}" for n in range(300)]
    text = manifest_text(model(1, schemas=["s"], tables=tables))
    run = rehearse(text, make_scenario(default_model={"duration": 1}, max_url=2000))
    sent = [post.query_string for post in run.posts]
    assert len(sent) == len(set(sent))
    assert run.outcome.status in {Status.SUCCEEDED, Status.REJECTED}


def test_a_certificate_that_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty models end at once with a message that names the setting; with either setting all succeed; a lost file is said."""
    tls = make_server_context(tmp_path)
    models = [model(n) for n in range(20)]
    staged = make_scenario(default_model={"duration": 1})
    bad = rehearse(manifest_text(*models), staged, tls=tls)
    assert set(bad.statuses.values()) == {Status.ERROR}
    assert bad.result.duration_s < 10
    for outcome in bad.outcomes:
        assert outcome.error is not None
        assert outcome.error.kind == "tls"
        # the first refusals are enough to give the instance up
        assert outcome.attempts <= 1
        assert "ca_file" in outcome.error.message + outcome.error.hint
        assert "SSL_CERT_FILE" in outcome.error.message + outcome.error.hint
    authority = str(write_authority(tmp_path))
    by_manifest = rehearse(manifest_text(*models, instance={"ca_file": authority}), staged, tls=tls)
    assert set(by_manifest.statuses.values()) == {Status.SUCCEEDED}
    monkeypatch.setenv("SSL_CERT_FILE", authority)
    assert set(rehearse(manifest_text(*models), staged, tls=tls).statuses.values()) == {Status.SUCCEEDED}
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        rehearse(manifest_text(*models), staged, tls=tls)


@pytest.mark.parametrize(
    "answer, status",
    [
        ({"status": 202, "raw": ""}, Status.ACCEPTED),
        ({"status": 204, "raw": ""}, Status.UNKNOWN),
        ({"status": 200, "body": {}}, Status.UNKNOWN),
        ({"status": 200, "body": {"modelId": "x", "status": "running"}}, Status.ACCEPTED),
        ({"status": 200, "body": {"jobId": "", "status": "running"}}, Status.ACCEPTED),
        ({"status": 200, "body": {"jobId": "j", "status": "completed"}}, Status.SUCCEEDED),
        ({"status": 200, "body": {"jobId": "j", "status": "failed"}}, Status.FAILED),
        ({"status": 200, "body": {"job_id": "j/1"}}, Status.SUCCEEDED),
        ({"status": 200, "body": {"jobId": 123}}, Status.SUCCEEDED),
    ],
)
def test_a_2xx_without_a_usable_job(answer: dict[str, Any], status: Status) -> None:
    """Never a success that was not seen, never a second call, never a crash."""
    staged = make_scenario(
        default_model={},
        faults=[
            {"method": "POST", "always": True, **answer},
            {"path": "/jobs/", "always": True, "status": 200, "body": {"status": "COMPLETED"}},
        ],
    )
    run = rehearse(manifest_text(model(1)), staged)
    assert (run.outcome.status, len(run.posts)) == (status, 1)
