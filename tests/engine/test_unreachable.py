"""An instance that no call ever reached: if waiting rarely cures the cause, it is given up soon, with cause and place."""

from pathlib import Path

import pytest

from orchestrator.engine.events import InstanceGivenUp
from orchestrator.engine.outcome import Status
from orchestrator.manifest.load import make_manifest
from orchestrator.omni.errors import CallErrorKind
from orchestrator.report.findings import exit_code
from orchestrator.simulator.reading import make_scenario
from tests.omni.certificates import make_server_context
from tests.rehearsal import ENVIRON, Rehearsal, manifest_text, model, read_manifest, rehearse

BY_ID = [model(n) for n in range(1, 41)]
BY_NAME = [{"model": f"m{n}"} for n in range(1, 21)]


def refused(until_s: float, models: list[dict[str, object]]) -> Rehearsal:
    """A run whose instance refuses connections from the beginning until then."""
    staged = make_scenario(
        default_model={"duration": 5},
        models=[{"name": f"m{n}"} for n in range(1, 21)],
        outages=[{"from": 0, "until": until_s}],
    )
    return rehearse(manifest_text(*models, workers=4), staged)


@pytest.mark.parametrize("models", [BY_ID, BY_NAME, BY_NAME[:1]], ids=["by id", "by name", "one name"])
def test_a_closed_port(models: list[dict[str, object]]) -> None:
    """After 15 s every target ends `error` with the cause, the address and the manifest's line; exit 1."""
    run = refused(1000, models)
    assert set(run.statuses.values()) == {Status.ERROR}
    assert {o.error.kind for o in run.outcomes if o.error} == {CallErrorKind.CONNECT}
    messages = {o.error.message for o in run.outcomes if o.error}
    assert len(messages) <= 2
    for message in messages:
        assert "connection refused" in message
        assert "127.0.0.1:" in message
        assert "(base_url in rehearsal.yaml:1:" in message
    assert run.result.duration_s <= 16
    assert len(run.witness.moments(InstanceGivenUp)) == 1
    code = exit_code(run.outcomes, signal=None, refused_instances=run.result.refused_instances, report_failed=False)
    assert code == 1
    assert not run.calls


def test_the_place_of_an_address() -> None:
    """An instance knows where its address is written: the manifest's line, or the variable."""
    (written,) = read_manifest(manifest_text(model(1))).instances.values()
    assert written.base_url_place.startswith("base_url in rehearsal.yaml:1:")
    environ = {**ENVIRON, "OMNI_API_TOKEN": "x"}
    (default,) = make_manifest("models: [{model: m}]", path="m.yaml", environ=environ).instances.values()
    assert default.base_url_place == "the variable OMNI_BASE_URL"


@pytest.mark.parametrize("models", [BY_ID, BY_NAME], ids=["by id", "by name"])
def test_an_instance_that_comes_up_in_time(models: list[dict[str, object]]) -> None:
    """An instance that is there after nine seconds gets everything."""
    run = refused(9, models)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}


@pytest.mark.parametrize("models", [BY_ID, BY_NAME], ids=["by id", "by name"])
def test_a_certificate_that_is_not_trusted(models: list[dict[str, object]], tmp_path: Path) -> None:
    """Nothing is tried again, and not each target tries for itself: the run ends at once, with `ca_file` in the message."""
    staged = make_scenario(default_model={"duration": 5})
    run = rehearse(manifest_text(*models), staged, tls=make_server_context(tmp_path))
    assert set(run.statuses.values()) == {Status.ERROR}
    assert {o.error.kind for o in run.outcomes if o.error} == {CallErrorKind.TLS}
    assert all(
        "ca_file" in o.error.message and "its issuer is not known" in o.error.message for o in run.outcomes if o.error
    )
    assert run.result.duration_s < 1
