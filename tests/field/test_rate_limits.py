"""What people met at rate limits in tools like this one."""

from itertools import pairwise

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.engine.run_context import RunSettings
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import manifest_text, model, rehearse, uuid


@pytest.mark.parametrize("where", ["POST", "GET"])
@pytest.mark.parametrize("offset_s", [0.0, 3600.0, -3600.0])
def test_a_retry_after_that_is_a_date(where: str, offset_s: float) -> None:
    """A date in Retry-After is a wait, measured against the server's own Date, on refreshes as on polls."""
    spell = {"from": 0, "until": 4} if where == "POST" else {"from": 5, "until": 20}
    staged = make_scenario(
        default_model={"duration": 10},
        limit={"spells": [spell], "retry_after": "date"},
        answers={"clock_offset": offset_s},
    )
    run = rehearse(manifest_text(model(1)), staged)
    limited = next(number for number, call in enumerate(run.calls) if call.limited)
    at_s, again_s = run.calls[limited].t_s, run.calls[limited + 1].t_s
    assert run.outcome.status is Status.SUCCEEDED
    assert spell["until"] <= again_s <= spell["until"] + 2
    assert again_s > at_s


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "application/json"])
def test_a_429_that_is_a_page(content_type: str) -> None:
    """A page, a text or broken JSON with a 429 is a 429: waits of a second and more, no word of JSON anywhere."""
    page = {"status": 429, "raw": "<html>nginx</html>", "content_type": content_type}
    staged = make_scenario(
        default_model={"duration": 10},
        faults=[{"method": "POST", "nth": [1, 2], **page}, {"path": "/jobs/", "nth": [1], **page}],
    )
    run = rehearse(manifest_text(model(1)), staged)
    waits = [b.t_s - a.t_s for a, b in pairwise(run.posts)]
    assert (run.outcome.status, run.outcome.throttled) == (Status.SUCCEEDED, 3)
    assert waits[0] >= 1
    assert waits[1] > waits[0]
    assert "json" not in str(run.outcome).lower()


@pytest.mark.parametrize("workers", [1, 20, 64])
def test_no_herd_after_a_shared_wait(workers: int) -> None:
    """Twenty workers, forty models, 429 to all for 5 s from the start on: none goes meanwhile, few at once after."""
    staged = make_scenario(
        default_model={"duration": 5},
        latency=0.1,
        limit={"spells": [{"from": 0.05, "until": 5.05}], "retry_after": "seconds"},
    )
    text = manifest_text(*(model(n) for n in range(1, 41)), workers=workers)
    run = rehearse(text, staged)
    refused = [call for call in run.calls if call.status == 429]
    over_s = refused[0].t_s + float(refused[0].retry_after or 0)
    assert len(refused) <= workers
    assert not [call for call in run.calls if refused[0].t_s + 0.5 < call.t_s < over_s - 0.1]
    assert len([call for call in run.calls if over_s <= call.t_s < over_s + 1]) <= 3
    assert set(run.statuses.values()) == {Status.SUCCEEDED}


def test_429_uses_up_no_retries() -> None:
    """Twelve 429 are not twelve failures; a failed poll of another model is not one either."""
    staged = make_scenario(
        default_model={"duration": 8},
        faults=[
            {"path": uuid(1), "nth": list(range(1, 13)), "status": 429, "headers": {"Retry-After": "1"}},
            {"path": "/jobs/", "count": "rule", "nth": [1], "status": 500},
        ],
    )
    run = rehearse(manifest_text(model(1, retries=0), model(2, retries=0)), staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert [o.attempts for o in run.outcomes] == [1, 1]
    assert run.of("m1").throttled == 12
    endless = make_scenario(default_model={}, faults=[{"always": True, "status": 429}])
    bounded = rehearse(manifest_text(model(1)), endless, settings=RunSettings(deadline_s=60))
    assert bounded.outcome.status is Status.THROTTLED
    assert bounded.result.duration_s == pytest.approx(60, abs=1)
