"""`discover`: a manifest from what the instance has, on the real streams."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from orchestrator.simulator.staging import model_id
from tests.cli.commands import KEY, call, write_manifest
from tests.cli.serving import serving

STAGED = make_scenario(
    keys=[KEY],
    models=[
        {"name": "Sales", "connection": "eu", "branches": ["b"], "duration": 0.05},
        {"name": "Finance", "connection": "us", "duration": 0.05},
    ],
    connections=[{"name": "eu"}, {"name": "us"}],
    limit={"requests": 1000, "per": 1},
)


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """An instance, and the variables that lead to it."""
    with serving(STAGED) as simulator:
        monkeypatch.setenv("OMNI_BASE_URL", simulator.url)
        monkeypatch.setenv("OMNI_API_TOKEN", KEY)
        yield simulator


def test_what_is_written_checks_and_runs(instance: Simulator, tmp_path: Path, capfd: Any) -> None:
    """The manifest on stdout checks clean, offline and online, and runs; the key is not in it."""
    done = call(capfd, "discover")
    assert done.code == 0, done.err
    assert KEY not in done.out + done.err
    path = tmp_path / "found.yaml"
    path.write_text(done.out, encoding="utf-8")
    assert call(capfd, "check", str(path)).code == 0
    assert call(capfd, "check", str(path), "--online").code == 0
    # a simulated instance's jobs are quick, so that they may be polled often
    path.write_text(done.out.replace("  mode: soft", "  poll: {min: 20ms, max: 100ms}\n  mode: soft"), encoding="utf-8")
    assert call(capfd, "run", str(path)).code == 0


def test_the_file_is_never_overwritten_unasked(instance: Simulator, tmp_path: Path, capfd: Any) -> None:
    """--output writes a new file; one that is there is exit 2 before any call, unless --force says so."""
    path = tmp_path / "found.yaml"
    done = call(capfd, "discover", "--output", str(path))
    assert (done.code, done.out) == (0, "")
    assert "Sales" in path.read_text()
    path.write_text("mine")
    before = len(instance.calls)
    done = call(capfd, "discover", "--output", str(path))
    assert (done.code, path.read_text()) == (2, "mine")
    assert "--force" in done.err
    assert len(instance.calls) == before
    assert call(capfd, "discover", "--output", str(path), "--force").code == 0
    assert "Sales" in path.read_text()
    assert call(capfd, "discover", "--output", str(tmp_path / "no" / "m.yaml")).code == 2


def test_differences_are_exit_1(instance: Simulator, tmp_path: Path, capfd: Any) -> None:
    """--diff tells what is new and what is gone, with its line; exit 0 where nothing is."""
    instances = {"sim": {"base_url": instance.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
    differs = write_manifest(tmp_path, {"model": "Sales"}, {"model": "Gone"}, instances=instances)
    done = call(capfd, "discover", "--diff", differs)
    assert done.code == 1
    assert f"new: Finance ({model_id('Finance')}) on us" in done.out
    assert f"gone: {differs}:1:" in done.out
    document = call(capfd, "discover", "--diff", differs, "--json").document
    assert [m["name"] for m in document["new"]] == ["Finance"]
    assert [m["name"] for m in document["gone"]] == ["Gone"]
    same = write_manifest(tmp_path, {"model": "Sales"}, {"model": "Finance"}, instances=instances)
    done = call(capfd, "discover", "--diff", same)
    assert (done.code, done.out) == (0, f"{same} names all 2 models, and none is gone\n")


def test_the_instance_of_a_manifest(
    instance: Simulator, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--like takes address and keys from a manifest; an exported address does not redirect it; several must be told apart."""
    instances = {name: {"base_url": instance.url, "api_keys": ["${OMNI_API_TOKEN}"]} for name in ("one", "two")}
    manifest = write_manifest(tmp_path, {"model": "Sales", "instance": "one"}, instances=instances)
    monkeypatch.setenv("OMNI_BASE_URL", "http://127.0.0.1:1")
    done = call(capfd, "discover", "--like", manifest, "--instance", "two", "--name", "S*")
    assert done.code == 0, done.err
    assert "  two:\n" in done.out
    assert "Finance" not in done.out
    for words in ([], ["--instance", "three"]):
        refused = call(capfd, "discover", "--like", manifest, *words)
        assert (refused.code, refused.out) == (2, "")
        assert "one, two" in refused.err


def test_key_files_are_found_from_anywhere(instance: Simulator, tmp_path: Path, capfd: Any) -> None:
    """A key file that a manifest names from its own folder is written with its whole path."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "key").write_text(KEY)
    instances = {"sim": {"base_url": instance.url, "api_key_file": "key"}}
    manifest = write_manifest(tmp_path / "a", {"model": "Sales"}, instances=instances)
    done = call(capfd, "discover", "--like", manifest)
    assert f'api_key_file: ["{tmp_path / "a" / "key"}"]' in done.out
    (tmp_path / "b.yaml").write_text(done.out)
    assert call(capfd, "check", str(tmp_path / "b.yaml"), "--online").code == 0


@pytest.mark.parametrize(
    "words, said",
    [
        (["--json"], "--json needs --diff"),
        (["--instance", "x"], "--instance needs --like or --diff"),
        (["--base-url", "https://a", "--like", "m.yaml"], "give only one of them"),
        (["--diff", "m.yaml", "--output", "x"], "remove --output"),
        (["--base-url", "http://example.com"], "unencrypted"),
        (["--kind", "WORKBOOK"], "WORKBOOK"),
    ],
)
def test_what_cannot_be_meant(instance: Simulator, words: list[str], said: str, capfd: Any) -> None:
    """Words that do not go together are exit 2, and nothing is asked."""
    done = call(capfd, "discover", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert instance.calls == []


def test_without_an_instance(capfd: Any) -> None:
    """Where nothing says which instance is meant, that is exit 2 with the ways to say it."""
    done = call(capfd, "discover")
    assert (done.code, done.out) == (2, "")
    assert "OMNI_BASE_URL" in done.err
    assert "OMNI_API_TOKEN" in done.err
    assert "--like MANIFEST" in done.err


def test_nothing_fits(instance: Simulator, capfd: Any) -> None:
    """A manifest without models is none: exit 1, and nothing on stdout."""
    done = call(capfd, "discover", "--name", "zzz*")
    assert (done.code, done.out) == (1, "")
    assert "no model matches" in done.err


def test_a_refused_key(instance: Simulator, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3, with what happened on stderr."""
    monkeypatch.setenv("OMNI_API_TOKEN", "another")
    done = call(capfd, "discover")
    assert (done.code, done.out) == (3, "")
    assert "refused every key" in done.err
