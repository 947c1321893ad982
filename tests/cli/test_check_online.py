"""`check --online`: what the instance says of a manifest, on the real streams."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.simulator.reading import make_scenario
from tests.cli.commands import KEY, call, write_manifest
from tests.cli.serving import serving
from tests.rehearsal import uuid

STAGED = make_scenario(
    models=[{"name": "Sales", "connection": {"name": "wh", "schemas": {"sales": ["orders"]}}}],
    limit={"requests": 1000, "per": 1},
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that the manifests name."""
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)


def check(
    tmp_path: Path, capfd: Any, *models: dict[str, object], words: tuple[str, ...] = (), staged: Any = STAGED
) -> Any:
    """A check of these models against an instance."""
    with serving(staged) as simulator:
        instances = {"sim": {"base_url": simulator.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
        return call(capfd, "check", write_manifest(tmp_path, *models, instances=instances), "--online", *words)


def test_a_true_manifest(tmp_path: Path, capfd: Any) -> None:
    """Exit 0; stdout has a note of what the instance knows, and a line with the counts and the calls that it took."""
    done = check(tmp_path, capfd, {"model": "Sales", "schemas": ["sales"]})
    assert done.code == 0, done.err
    assert done.out.endswith("m.yaml: OK (1 model, 1 instance, 5 calls)\n")
    assert done.out.splitlines()[0].startswith(
        "note[api-parameters]: the refresh call of the instance sim takes branch_id"
    )
    assert len(done.out.splitlines()) == 2


def test_warnings_are_no_faults(tmp_path: Path, capfd: Any) -> None:
    """A scope that fits nothing, or a manifest's own warning, is exit 0, each with its place."""
    done = check(tmp_path, capfd, {"model": "Sales", "tables": ["sale.x"]})
    assert done.code == 0
    assert "m.yaml:1:" in done.out
    assert "did you mean 'sales'?" in done.out
    assert "`tables` without `schemas`" in done.out
    assert "OK, 2 warnings (1 model" in done.out


def test_errors_are_exit_1(tmp_path: Path, capfd: Any) -> None:
    """What the instance has not is an error with its place, and the key is in no output."""
    done = check(tmp_path, capfd, {"model": "Slaes"}, {"id": uuid(1), "name": "x"})
    assert done.code == 1
    assert done.out.count(": error[") == 2
    assert "2 errors (2 models, 1 instance" in done.out
    assert KEY not in done.out + done.err


def test_a_refused_key_is_exit_3(tmp_path: Path, capfd: Any) -> None:
    """Where no key is accepted nothing else can be said."""
    done = check(tmp_path, capfd, {"model": "Sales"}, staged=make_scenario(keys=["another"]))
    assert done.code == 3
    assert "refused every key: OMNI_API_TOKEN" in done.out


def test_json(tmp_path: Path, capfd: Any) -> None:
    """One document with a schema version: what was found, and the counts; offline as well."""
    done = check(tmp_path, capfd, {"model": "Slaes"}, words=("--json",))
    assert done.code == 1
    assert done.document["schema_version"] == 1
    (note, finding) = sorted(done.document["findings"], key=lambda one: one["severity"] == "error")
    assert (note["severity"], note["code"]) == ("note", "api-parameters")
    (instance,) = done.document["instances"]
    assert instance["refresh_parameters"] == ["branch_id", "hard_refresh", "schemas", "tables"]
    assert (finding["severity"], finding["name"]) == ("error", "Slaes")
    assert finding["line"] == 1
    summary = {"models": 1, "instances": 1, "errors": 1, "warnings": 0, "notes": 1, "calls": 4}
    assert done.document["summary"] == summary
    offline = call(capfd, "check", write_manifest(tmp_path, {"id": uuid(1), "tables": ["a.b"]}), "--json")
    assert offline.code == 0
    assert offline.document["summary"]["warnings"] == 1
    assert offline.document["summary"]["calls"] == 0


def test_a_wrong_manifest_is_exit_2_without_a_call(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults come before any call; online the key's variable is needed."""
    with serving(STAGED) as simulator:
        instances = {"sim": {"base_url": simulator.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
        done = call(capfd, "check", write_manifest(tmp_path, {"modle": "x"}, instances=instances), "--online")
        assert (done.code, done.out) == (2, "")
        monkeypatch.delenv("OMNI_API_TOKEN")
        done = call(capfd, "check", write_manifest(tmp_path, {"model": "Sales"}, instances=instances), "--online")
        assert (done.code, done.out) == (2, "")
        assert "OMNI_API_TOKEN" in done.err
        assert simulator.calls == []
