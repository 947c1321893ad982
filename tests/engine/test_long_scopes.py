"""Scopes that the server finds too long: divided anew, never sent again unchanged."""

from orchestrator.engine.outcome import Status
from orchestrator.engine.recorder import Recorder
from orchestrator.planning.plan import Refresh
from orchestrator.simulator.call_log_checks import overlaps
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import manifest_text, model, rehearse, uuid

TABLES = [f"warehouse.table_{n:010}" for n in range(1500)]


def test_a_414_halves_the_limit() -> None:
    """A server that takes 2,000 bytes gets every table once; no call is sent again unchanged; the next scope knows it."""
    long = {"schemas": ["warehouse"], "tables": TABLES, "connection": "wh"}
    staged = make_scenario(default_model={"duration": 2}, max_url=2000, limit={"kind": "none"})
    run = rehearse(
        manifest_text(model(1, **long), model(2, **{**long, "tables": TABLES[:500]}),
                      instance={"rate_limit": {"requests": 1000, "per": "60s"}}),
        staged,
    )  # fmt: skip
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    accepted = [call for call in run.posts if call.accepted]
    for number, tables in ((1, TABLES), (2, TABLES[:500])):
        mine = [call for call in accepted if uuid(number) in call.path]
        assert [t for call in mine for t in call.query["tables"].split(",")] == tables
    refused = [call for call in run.posts if not call.accepted]
    assert [call.status for call in refused] == [414, 414]
    assert len({call.query["tables"] for call in run.posts if uuid(1) in call.path}) == len(
        [call for call in run.posts if uuid(1) in call.path]
    )
    assert overlaps(run.calls) == []
    assert run.of("m1").attempts == len([call for call in run.posts if uuid(1) in call.path])


def test_a_414_that_nothing_can_mend() -> None:
    """A single name that is too long for the server, and a refresh without a scope, are `rejected` after one call."""
    staged = make_scenario(default_model={"duration": 2}, max_url=60)
    run = rehearse(manifest_text(model(1, schemas=["a"], tables=["a" * 60]), model(2)), staged)
    assert [o.status for o in run.outcomes] == [Status.REJECTED, Status.REJECTED]
    assert {o.error.kind for o in run.outcomes if o.error} == {"uri_too_long"}
    assert len(run.posts) == 2


def test_a_414_in_the_middle_keeps_what_was_sent() -> None:
    """Calls that were accepted stay; only the rest is divided."""
    tables = [f"s.table_with_a_long_name_{n:04d}" for n in range(900)]
    fault = {"method": "POST", "nth": [2], "status": 414}
    staged = make_scenario(default_model={"duration": 2}, faults=[fault])
    run = rehearse(manifest_text(model(1, schemas=["s"], tables=tables)), staged)
    assert run.outcome.status is Status.SUCCEEDED
    accepted = [call for call in run.posts if call.accepted]
    assert [t for call in accepted for t in call.query["tables"].split(",")] == tables
    assert accepted[0].url_bytes > 2 * accepted[1].url_bytes - 100
    assert run.outcome.job_ids == tuple(call.job_id for call in accepted)


def test_a_lane_that_stays_closed_in_the_middle_of_a_scope() -> None:
    """If the first of several calls times out, its job is polled until the lane opens, and the journal stores its part."""
    tables = [f"s.table_with_a_long_name_{n:04d}" for n in range(900)]
    recorder = Parts()
    staged = make_scenario(default_model={"duration": 40}, connections=[{"name": "wh"}])
    models = [
        model(1, connection="wh", schemas=["s"], tables=tables, timeout=10),
        model(2, connection="wh", schemas=["x"]),
    ]
    run = rehearse(manifest_text(*models, model(3)), staged, recorder=recorder)
    assert (run.of("m1").status, run.of("m3").status) == (Status.TIMED_OUT, Status.SUCCEEDED)
    assert recorder.polled_parts == {(uuid(1), 0), (uuid(3), 0)} | ({(uuid(2), 0)} if run.of("m2").polls else set())


class Parts(Recorder):
    """Keeps which call of which refresh was polled."""

    def __init__(self) -> None:
        self.polled_parts: set[tuple[str, int]] = set()

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        self.polled_parts.add((refresh.sender.model_id, part))
