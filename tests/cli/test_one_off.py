"""Runs that differ from their manifest, runs without one, what a selection holds, and what `doctor` finds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Manifest, UsageError, load_manifest, override_manifest
from orchestrator.manifest.manifest import Mode
from orchestrator.simulator.reading import make_scenario
from tests.cli.commands import KEY, call, write_manifest, write_scenario
from tests.cli.serving import serving
from tests.rehearsal import uuid

SCOPED = {"id": uuid(2), "name": "scoped", "connection": "c2", "schemas": ["finance"], "tags": ["emea"]}
PLAIN = {"id": uuid(1), "name": "plain", "connection": "c1", "tags": ["nightly", "emea"]}


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A manifest of a model with a scope and one without, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_manifest(tmp_path, PLAIN, SCOPED)
    return "m.yaml"


@pytest.fixture
def instance(own_state: None) -> Iterator[str]:
    """The address of an instance that knows one key and refuses the second model."""
    del own_state
    fault = {"method": "POST", "path": uuid(2), "always": True, "status": 400, "message": "no, never"}
    scenario = make_scenario(keys=[KEY], default_model={"duration": 0.01}, faults=[fault])
    with serving(scenario) as simulator:
        yield simulator.url


def outcomes(done: Any) -> dict[str, Any]:
    """The rows of a report on stdout, by name."""
    return {row["name"]: row for row in done.document["outcomes"]}


def test_a_mode_for_one_run(manifest: str, capfd: Any) -> None:
    """`--mode soft` makes every refresh soft; `hard` is refused for a model with scopes, unless it is left out."""
    plain = call(capfd, "run", manifest, "--simulate", "--json")
    assert {name: row["mode"] for name, row in outcomes(plain).items()} == {"plain": "hard", "scoped": "soft"}
    soft = call(capfd, "run", manifest, "--simulate", "--json", "--mode", "soft")
    assert {row["mode"] for row in outcomes(soft).values()} == {"soft"}
    hard = call(capfd, "run", manifest, "--simulate", "--mode", "hard")
    assert (hard.code, hard.out) == (2, "")
    assert "scoped (line 1)" in hard.err
    left_out = call(capfd, "run", manifest, "--simulate", "--json", "--mode", "hard", "--exclude", "scoped")
    assert {row["mode"] for row in outcomes(left_out).values()} == {"hard"}
    assert call(capfd, "plan", manifest, "--mode", "hard").code == 2


def test_a_timeout_for_one_run(manifest: str, tmp_path: Path, capfd: Any) -> None:
    """A job that takes longer than `--timeout` is timed out; the advice for a wrong entry keeps the overrides."""
    write_scenario(
        tmp_path, name="m.scenario.yaml", models=[{"id": uuid(1), "duration": 60}], default_model={"duration": 0}
    )
    done = call(capfd, "run", manifest, "--simulate", "--json", "--timeout", "200ms", "--workers", "2")
    assert {name: row["status"] for name, row in outcomes(done).items()} == {
        "plain": "timed_out",
        "scoped": "succeeded",
    }


def test_advice_keeps_the_overrides(manifest: str, instance: str, tmp_path: Path, capfd: Any) -> None:
    """The command that repeats a run with the corrected manifest says what this one was given, so that no soft refresh
    becomes a hard one.
    """
    write_manifest(
        tmp_path,
        {**PLAIN, "id": uuid(2)},
        instances={"sim": {"base_url": "http://127.0.0.1:1", "api_keys": ["${OMNI_API_TOKEN}"]}},
    )
    done = call(capfd, "run", manifest, "--mode", "soft", "--base-url", instance)
    assert f"Next: omni-refresh run m.yaml --mode soft --base-url {instance} --select plain" in done.out
    one = call(capfd, "run", "--model", uuid(2), "--mode", "soft", "--base-url", instance)
    assert f"Next: omni-refresh run --model {uuid(2)} --mode soft --base-url {instance}\n" in one.out


@pytest.mark.parametrize(
    "args, words",
    [
        (["m.yaml", "--model", "x"], "option-conflict"),
        ([], "missing-argument"),
        (["m.yaml", "--schema", "s"], "--schema belongs to --model"),
        (["m.yaml", "--branch", "b"], "--branch belongs to --model"),
        (["m.yaml", "--base-url", "ftp://x"], "--base-url "),
        (["m.yaml", "--timeout", "0s"], "must be above 0"),
        (["m.yaml", "--workers", "1001"], "from 1 to 1000"),
        (["--model", "a", "--schema", "b", "--mode", "hard"], "hard"),
    ],
)
def test_what_does_not_fit_together(args: list[str], words: str, manifest: str, capfd: Any) -> None:
    """Exit code 2 before anything is sent, with the reason."""
    del manifest
    done = call(capfd, "run", *args, "--simulate")
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_an_address_needs_one_instance(tmp_path: Path) -> None:
    """`base_url` with several instances is refused: which of them is meant is not clear."""
    names = {name: {"base_url": "https://x.omniapp.co", "api_keys": ["${K}"]} for name in ("a", "b")}
    text = json.dumps({"instances": names, "models": [{"id": uuid(1), "instance": "a"}]})
    loaded = load_manifest(text=text, environ={"K": "k"})
    with pytest.raises(UsageError, match="several instances"):
        override_manifest(loaded, base_url="https://y.omniapp.co")


def test_the_api_overrides_too() -> None:
    """`override_manifest` does what the options do, and an override that says nothing changes nothing."""
    loaded = load_manifest(
        text=json.dumps({"models": [{"id": uuid(1)}]}),
        environ={"OMNI_BASE_URL": "https://x.omniapp.co", "OMNI_API_TOKEN": "k"},
    )
    assert override_manifest(loaded) is loaded
    other: Manifest = override_manifest(
        loaded, mode="soft", timeout="5m", workers=3, base_url="https://y.omniapp.co/api"
    )
    assert (other.entries[0].mode, other.entries[0].timeout_s, other.workers) == (Mode.SOFT, 300.0, 3)
    assert [i.base_url for i in other.instances.values()] == ["https://y.omniapp.co"]


def test_a_model_without_a_manifest(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--model` takes names as they are, with dollars and quotes; scopes make the refresh soft; no file is needed."""
    monkeypatch.chdir(tmp_path)
    name = 'Sales "${HOME}" $x'
    scopes = ["--schema", "finance", "--table", "finance.invoices"]
    write_scenario(tmp_path, default_model={"duration": 0.01})
    done = call(capfd, "run", "--model", name, *scopes, "--simulate", "--json", "--scenario", "s.yaml")
    (row,) = done.document["outcomes"]
    assert (row["name"], row["mode"], row["schemas"], row["tables"]) == (
        name,
        "soft",
        ["finance"],
        ["finance.invoices"],
    )
    assert row["status"] == "succeeded"
    assert done.document["run"]["manifest"]["path"].startswith("--model 'Sales ")


def test_what_a_selection_holds(manifest: str, capfd: Any) -> None:
    """`ls` prints names, one per line; `--long` a table; `--json` a document. Nothing selected is exit code 2."""
    assert call(capfd, "ls", manifest).out == "plain\nscoped\n"
    assert call(capfd, "ls", manifest, "-s", "tag:nightly").out == "plain\n"
    assert call(capfd, "ls", manifest, "--exclude", "plain").out == "scoped\n"
    long = call(capfd, "ls", manifest, "-l").out.splitlines()
    assert long[0].split() == ["TARGET", "INSTANCE", "MODEL", "BRANCH", "CONNECTION", "MODE", "SCOPE", "TAGS"]
    assert long[2].split() == ["scoped", "sim", uuid(2), "-", "c2", "soft", "finance", "emea"]
    (target,) = call(capfd, "ls", manifest, "-s", "scoped", "--json").document["targets"]
    assert (target["name"], target["schemas"], target["mode"]) == ("scoped", ["finance"], "soft")
    assert call(capfd, "ls", manifest, "-s", "zzz*").code == 2
    assert call(capfd, "ls", manifest, "-s", "zzz*", "--allow-empty").code == 0


def examined(done: Any) -> dict[str, tuple[str, str]]:
    """What `doctor` printed: the verdict and the words of each part."""
    rows = [line.split(maxsplit=2) for line in done.out.splitlines()]
    return {what: (verdict, words) for verdict, what, words in rows}


def test_doctor_finds_a_good_set_up(instance: str, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each part: address, key, role, clock, state; exit code 0."""
    monkeypatch.setenv("OMNI_BASE_URL", instance)
    done = call(capfd, "doctor")
    found = examined(done)
    assert list(found) == ["address", "key", "role", "clock", "state"]
    assert {verdict for verdict, _ in found.values()} == {"ok"}, done.out
    assert found["key"][1].startswith("${OMNI_API_TOKEN}")
    assert found["role"][1].startswith("organization role ")
    assert done.code == 0
    write_manifest(Path(), PLAIN, instances={"sim": {"base_url": instance, "api_keys": ["${OMNI_API_TOKEN}"]}})
    assert examined(call(capfd, "doctor", "m.yaml"))["role"] == ("ok", "CONNECTION_ADMIN on the models of the manifest")


def test_doctor_examines_the_named_state(
    instance: str, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--state` takes precedence over the environment and the manifest, as it does for a run."""
    monkeypatch.setenv("OMNI_BASE_URL", instance)
    done = call(capfd, "doctor", "--state", str(tmp_path / "mine"), "--json")
    assert (done.code, done.document["exit_code"]) == (0, 0)
    (state,) = [each for each in done.document["examined"] if each["what"] == "state"]
    assert state["words"].startswith(str(tmp_path / "mine"))
    (tmp_path / "file").write_text("not a folder")
    assert call(capfd, "doctor", "--state", str(tmp_path / "file")).code == 1


def test_doctor_sends_nothing_beside_a_shared_state(instance: str, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest whose shared state cannot be used: one line with the remedy, exit code 1, and no call to the instance."""
    instances = {"sim": {"base_url": instance, "api_keys": ["${OMNI_API_TOKEN}"]}}
    monkeypatch.setattr("orchestrator.app.state._BUSY_S", 0.0)
    write_manifest(Path(), PLAIN, instances=instances, state="postgresql://omni@127.0.0.1:1/omni")
    found = examined(call(capfd, "doctor", "m.yaml"))
    assert list(found) == ["state"]
    assert found["state"][0] == "FAIL"
    assert "omni-refresh state check" in found["state"][1]


def test_doctor_says_what_to_do(instance: str, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused key is exit code 3, an address that does not answer and an unusable state folder are 1; each with a fix."""
    monkeypatch.setenv("OMNI_BASE_URL", "http://127.0.0.1:1")
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("OMNI_REFRESH_STATE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr("orchestrator.engine.calls.UNREACHABLE_S", 0.1)
    done = call(capfd, "doctor")
    found = examined(done)
    assert (done.code, list(found)) == (1, ["address", "state"])
    assert all(verdict == "FAIL" and " -> " in words for verdict, words in found.values())
    monkeypatch.delenv("OMNI_REFRESH_STATE_DIR")
    monkeypatch.setenv("OMNI_BASE_URL", instance)
    monkeypatch.setenv("OMNI_API_TOKEN", "wrong-key-wrong-key")
    refused = call(capfd, "doctor", "--json")
    assert refused.code == 3
    (key,) = [each for each in refused.document["examined"] if each["what"] == "key"]
    assert (key["health"], "OMNI_API_TOKEN" in key["fix"]) == ("error", True)
    assert "wrong-key" not in refused.out + refused.err
