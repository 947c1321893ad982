"""The budget over the real stack: a strict server answers no 429, and hardly a call of it is left unused."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.engine.outcome import Status
from orchestrator.engine.run_context import RunSettings
from orchestrator.simulator.call_log_checks import budget_share, most_in_window
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse


def many(count: int, limit: dict[str, Any], *, keys: int = 1, workers: int = 16, **sections: Any) -> Rehearsal:
    """A run over `count` models, each on a connection of its own, at a server with this limit; only submitting."""
    rate = {"requests": limit["requests"], "per": f"{limit['per']}s"}
    text = manifest_text(
        *(model(n) for n in range(1, count + 1)), keys=keys, workers=workers, instance={"rate_limit": rate}
    )
    staged = make_scenario(default_model={"duration": 1}, limit=limit, **sections)
    return rehearse(text, staged, settings=RunSettings(wait=False))


@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
@pytest.mark.parametrize("latency", [0.0, [0.0, 0.8], [0.3, 4.0]])
def test_sixty_a_minute(kind: str, latency: object) -> None:
    """60 in 60 s, whatever it is counted with and however long calls travel: no 429, and 95 % and more of it used."""
    run = many(150, {"kind": kind, "requests": 60, "per": 60}, latency=latency)
    assert not [call for call in run.calls if call.limited]
    assert most_in_window(run.calls, 60.0) <= 60
    assert set(run.statuses.values()) == {Status.ACCEPTED}
    assert budget_share(run.calls, 60, 60.0) >= (0.95 if latency != [0.3, 4.0] else 0.9)


@pytest.mark.parametrize("requests, per_s, count, keys", [(10, 1, 120, 1), (600, 1, 1210, 1), (7, 3, 90, 3)])
def test_other_limits_and_several_keys(requests: int, per_s: int, count: int, keys: int) -> None:
    """Each key's own window holds, for fast clocks and for several keys, and together they give all that they have."""
    run = many(count, {"requests": requests, "per": per_s}, keys=keys, workers=64)
    assert not [call for call in run.calls if call.limited]
    by_key = {key: [c for c in run.calls if c.key == key] for key in {c.key for c in run.calls}}
    assert len(by_key) == keys
    for calls in by_key.values():
        assert most_in_window(calls, per_s) <= requests
    assert budget_share(run.calls, requests * keys, per_s) >= 0.95


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_demand_lets_more_through(data: st.DataObject) -> None:
    """Bursts, sequences on one connection, failures, cut calls, jitter, few or many workers: 0 calls too many, ever."""
    requests, per_s = data.draw(st.sampled_from([(5, 4.0), (12, 20.0), (20, 10.0)]), label="limit")
    count = data.draw(st.integers(1, 60), label="models")
    lanes = data.draw(st.integers(1, count), label="connections")
    latency = data.draw(st.sampled_from([0.0, [0.0, 0.8], [0.0, 3.0], {"median": 0.2, "sigma": 1.5}]), label="latency")
    kind = data.draw(st.sampled_from(["sliding", "fixed", "bucket"]), label="kind")
    workers = data.draw(st.sampled_from([1, 2, 16, 100]), label="workers")
    fault: dict[str, object] = data.draw(
        st.sampled_from([{"drop": "reset"}, {"status": 500}, {"drop": "body"}, {"delay": 6.0, "drop": "close"}]),
        label="fault",
    )
    share = data.draw(st.sampled_from([0.0, 0.1, 0.5]), label="share of calls that go wrong")
    durations = data.draw(st.sampled_from([0.0, 3.0, [1.0, 30.0]]), label="durations")
    models = [model(n, connection=f"c{n % lanes}") for n in range(count)]
    text = manifest_text(
        *models,
        workers=workers,
        defaults={"collapse": False, "on_ambiguous": "resend", "timeout": "5m", "poll": {"min": "1s", "max": "20s"}},
        instance={"rate_limit": {"requests": requests, "per": f"{per_s}s"}, "request_timeout": "5s"},
    )
    staged = make_scenario(
        default_model={"duration": durations},
        latency=latency,
        limit={"kind": kind, "requests": requests, "per": per_s},
        faults=[{"p": share, "effect": "before", **fault}],
        seed=data.draw(st.integers(0, 1000), label="seed"),
    )
    run = rehearse(text, staged)
    assert not [call for call in run.calls if call.limited]
    assert most_in_window(run.calls, per_s) <= requests
    assert len(run.outcomes) == count
