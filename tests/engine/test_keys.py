"""Keys that are refused: set aside while another works; without one the instance's targets are not sent."""

import json

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.engine.run_context import RunSettings
from orchestrator.quota.rate_limiter import KeySetAside
from orchestrator.report.findings import exit_code
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import ENVIRON, Rehearsal, manifest_text, model, rehearse


def code(run: Rehearsal) -> int:
    """The exit code that the run's end means."""
    return exit_code(run.outcomes, signal=None, refused_instances=run.result.refused_instances, report_failed=False)


REFUSED = [{"key": "bad", "refused_from": 0}]


@pytest.mark.parametrize("form", ["unauthorized", "invalid_token"])
def test_a_refused_key_stops_its_instance(form: str) -> None:
    """401, or 403 that says the token is invalid: nothing was sent, every target `not_started`, exit 3."""
    staged = make_scenario(default_model={}, keys=REFUSED, answers={"bad_key": form})
    run = rehearse(manifest_text(*(model(n) for n in range(1, 31))), staged)
    assert set(run.statuses.values()) == {Status.NOT_STARTED}
    assert {o.error.kind for o in run.outcomes if o.error} == {"key_refused"}
    assert run.result.refused_instances == ("sim",)
    assert code(run) == 3
    assert len(run.calls) <= 16
    assert not any(call.accepted for call in run.calls)


BLOCKED = "<html><body>Request blocked: invalid token. If your API credentials are invalid, call support.</body></html>"


@pytest.mark.parametrize("raw", [BLOCKED, "Forbidden: invalid token", '{"message": "invalid token", "support_id": 18}'])
def test_a_firewalls_403_is_its_targets_own(raw: str) -> None:
    """A 403 that is not the API's own error never sets the key aside, whatever words it quotes; they stand in the outcome."""
    rule = {"method": "POST", "nth": [2], "count": "rule", "status": 403, "raw": raw}
    run = rehearse(
        manifest_text(*(model(n) for n in range(1, 5))), make_scenario(default_model={"duration": 2}, faults=[rule])
    )
    assert sorted(run.statuses.values()) == [Status.REJECTED, *[Status.SUCCEEDED] * 3]
    assert run.result.refused_instances == ()
    (blocked,) = [o.error for o in run.outcomes if o.error is not None]
    assert (blocked.kind, blocked.http_status) == ("forbidden", 403)
    assert "invalid token" in blocked.message


def test_any_401_sets_the_key_aside() -> None:
    """401 refuses the key, also in the page of a proxy: nothing more is sent with it, exit 3."""
    rule = {"method": "POST", "always": True, "status": 401, "raw": "<html>Sign in</html>"}
    run = rehearse(manifest_text(model(1), model(2)), make_scenario(default_model={}, faults=[rule]))
    assert set(run.statuses.values()) == {Status.NOT_STARTED}
    assert run.result.refused_instances == ("sim",)


def test_another_403_is_its_targets_own() -> None:
    """A 403 for want of permission ends one target; the key is kept, the others go on, exit 1."""
    staged = make_scenario(
        default_model={"duration": 2}, faults=[{"method": "POST", "nth": [2], "count": "rule", "status": 403}]
    )
    run = rehearse(manifest_text(*(model(n) for n in range(1, 6))), staged)
    assert sorted(run.statuses.values()) == [Status.REJECTED, *[Status.SUCCEEDED] * 4]
    assert (run.result.refused_instances, code(run)) == ((), 1)


def test_another_key_continues() -> None:
    """With two keys, one of which is refused: every target succeeds with the other, and one warning was given."""
    staged = make_scenario(default_model={"duration": 2}, keys=[*REFUSED, "good"])
    run = rehearse(manifest_text(*(model(n) for n in range(1, 21))), staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert [aside.keys_left for aside in run.witness.of(KeySetAside)] == [1]
    assert (run.result.refused_instances, code(run)) == ((), 0)


def test_a_refused_key_is_no_attempt() -> None:
    """The call that a key was refused for goes again with the other key, as the same attempt."""
    staged = make_scenario(default_model={"duration": 2}, keys=[*REFUSED, "good"])
    run = rehearse(manifest_text(model(1, retries=0)), staged)
    assert (run.outcome.status, run.outcome.attempts) == (Status.SUCCEEDED, 1)


def test_other_instances_go_on() -> None:
    """One instance refuses its key, the other's models are all refreshed; exit 3."""
    instances = {name: {"base_url": ENVIRON["OMNI_BASE_URL"], "api_keys": ["${KEY_1}"]} for name in ("closed", "open")}
    models = [model(n, instance="closed" if n % 2 else "open") for n in range(1, 9)]
    text = json.dumps({"instances": instances, "models": models})
    scenarios = {
        "closed": make_scenario(default_model={}, keys=REFUSED),
        "open": make_scenario(default_model={"duration": 20}),
    }
    run = rehearse(text, scenarios)
    assert [o.status for o in run.outcomes] == [Status.NOT_STARTED, Status.SUCCEEDED] * 4
    assert run.result.refused_instances == ("closed",)
    assert code(run) == 3


def test_a_key_that_is_revoked_in_mid_run() -> None:
    """Sent ones keep their job ids, `interrupted`; unsent ones are `not_started`; nothing is `failed`."""
    staged = make_scenario(default_model={"duration": 60}, keys=[{"key": "bad", "refused_from": 30}])
    run = rehearse(manifest_text(*(model(n) for n in range(1, 101))), staged)
    started = [o for o in run.outcomes if o.job_ids]
    assert {o.status for o in started} == {Status.INTERRUPTED}
    assert {o.status for o in run.outcomes if not o.job_ids} == {Status.NOT_STARTED}
    assert len(started) == sum(call.accepted for call in run.calls)


def test_a_refused_key_ends_look_ups_as_well() -> None:
    """Where the key is refused at the first look-up, every target is `not_started`, the disabled one skipped."""
    staged = make_scenario(default_model={}, keys=REFUSED)
    models: list[dict[str, object]] = [model(1, connection=None), model(2), {"name": "by name"}]
    models.append(model(3, enabled=False))
    run = rehearse(manifest_text(*models), staged)
    assert [o.status for o in run.outcomes] == [*[Status.NOT_STARTED] * 3, Status.SKIPPED]
    assert (run.result.refused_instances, code(run), len(run.calls)) == (("sim",), 3, 1)


def test_several_keys_share_the_work() -> None:
    """The quota of each key is used: three keys submit three times as much in the first minute."""
    run = rehearse(
        manifest_text(*(model(n) for n in range(1, 181)), keys=3),
        make_scenario(default_model={"duration": 1}),
        settings=RunSettings(wait=False),
    )
    assert run.posts[-1].t_s < 5
    assert len({call.key for call in run.posts}) == 3
