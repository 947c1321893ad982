"""`plan`: what run would do, on the real streams."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.simulator.reading import make_scenario
from tests.cli.commands import KEY, call, write_manifest, write_scenario
from tests.cli.serving import serving
from tests.rehearsal import uuid

NAMED: list[dict[str, object]] = [{"model": "Sales"}, {"model": "Finance", "schemas": ["f"]}]


def test_no_key_and_no_call_where_all_is_said(tmp_path: Path, capfd: Any) -> None:
    """Ids and connections in the manifest: no variable is needed, nothing is asked, exit 0, a table on stdout."""
    done = call(capfd, "plan", write_manifest(tmp_path))
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split()[:3] == ["#", "LANE", "CALL"]
    assert [line.split()[:2] for line in lines[1:4]] == [["1", "c1"], ["2", "c2"], ["3", "c3"]]
    assert "3 refreshes in 3 lanes for 3 targets" in done.out
    assert "Calls: about 7 (3 to submit, 4 or so to follow)" in done.out
    assert "warning: a hard refresh " in done.out
    assert "\x1b" not in done.out


def test_the_same_plan_is_shown_the_same_way(tmp_path: Path, capfd: Any) -> None:
    """Nothing in it is left to chance."""
    manifest = write_manifest(tmp_path)
    assert call(capfd, "plan", manifest).out == call(capfd, "plan", manifest).out


def test_json_is_one_document(tmp_path: Path, capfd: Any) -> None:
    """With --json stdout is exactly one document with a schema version, at the highest verbosity as well."""
    done = call(capfd, "plan", write_manifest(tmp_path), "--json", "-v", "--select", "m2")
    assert done.code == 0
    assert done.document["schema_version"] == 2
    (refresh,) = done.document["refreshes"]
    assert (refresh["name"], refresh["lane"], refresh["serves"]) == ("m2", "connection c2", ["m2"])
    assert refresh["calls"] == [{"method": "POST", "target": f"/api/v1/models/{uuid(2)}/refresh?hard_refresh=true"}]
    assert done.document["summary"]["calls"]["total"] == 3


def test_a_key_is_needed_to_look_up(tmp_path: Path, capfd: Any) -> None:
    """Names must be looked up, and without the key's variable that is exit 2, which names it."""
    done = call(capfd, "plan", write_manifest(tmp_path, *NAMED))
    assert (done.code, done.out) == (2, "")
    assert "OMNI_API_TOKEN" in done.err


def test_look_ups_and_nothing_else(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against an instance: look-ups alone; an unknown name is an error with its place, exit 1; the key is in no output."""
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)
    staged = make_scenario(models=[{"name": "Sales"}, {"name": "Finance"}], limit={"requests": 1000, "per": 1})
    with serving(staged) as simulator:
        manifest = write_manifest(
            tmp_path,
            *NAMED,
            {"model": "Fnance"},
            instances={"sim": {"base_url": simulator.url, "api_keys": ["${OMNI_API_TOKEN}"]}},
        )
        done = call(capfd, "plan", manifest)
        methods = {one.method for one in simulator.calls}
    assert done.code == 1
    assert methods == {"GET"}
    assert f"{manifest}:1:" in done.out
    assert "error: Fnance: no model is named 'Fnance'; did you mean 'Finance'?" in done.out
    assert "2 refreshes in 2 lanes for 2 targets, 1 in error" in done.out
    assert KEY not in done.out + done.err


def test_a_refused_key(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3, and the targets are errors that say why."""
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)
    with serving(make_scenario(keys=["another"])) as simulator:
        instances = {"sim": {"base_url": simulator.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
        done = call(capfd, "plan", write_manifest(tmp_path, *NAMED, instances=instances), "--json")
    assert done.code == 3
    messages = [u["message"] for u in done.document["unresolved"]]
    assert len(messages) == 2
    assert all("OMNI_API_TOKEN at 127.0.0.1:" in text for text in messages)


def test_a_simulation_needs_no_key(tmp_path: Path, capfd: Any) -> None:
    """With --simulate names are looked up on a simulator of the command's own."""
    scenario = write_scenario(tmp_path, models=[{"name": "Sales", "connection": "wh"}, {"name": "Finance"}])
    done = call(capfd, "plan", write_manifest(tmp_path, *NAMED), "--simulate", "--scenario", scenario, "--json")
    assert done.code == 0, done.err
    assert [r["name"] for r in done.document["refreshes"]] == ["Sales", "Finance"]
    # two names on two connections, and whether one of these is an environment of the other
    assert done.document["summary"]["calls"]["look_ups"] == 3


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["--select", "tag:none"], 2, "no model has a tag"),
        (["--select", "zzz*"], 2, "nothing is selected"),
        (["--select", "zzz*", "--allow-empty"], 0, ""),
        (["--exclude", "*"], 2, "nothing is selected"),
    ],
)
def test_selections(words: list[str], code: int, said: str, tmp_path: Path, capfd: Any) -> None:
    """As for run: unknown words and empty selections are exit 2, unless emptiness is allowed."""
    done = call(capfd, "plan", write_manifest(tmp_path), *words)
    assert done.code == code
    assert said in done.err


def test_history_gives_the_time(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a run its durations are known, and the time is no guess any more."""
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)
    staged = make_scenario(default_model={"duration": 0.05}, limit={"requests": 1000, "per": 1})
    with serving(staged) as simulator:
        instances = {"sim": {"base_url": simulator.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
        manifest = write_manifest(tmp_path, instances=instances)
        assert "a guess" in call(capfd, "plan", manifest).out
        assert call(capfd, "run", manifest).code == 0
        after = call(capfd, "plan", manifest)
    assert "Time: about " in after.out
    assert "a guess" not in after.out
    assert call(capfd, "plan", manifest, "--json").document["summary"]["known_durations"] == 3


def test_a_plan_needs_no_state_folder(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be used that is a warning in the log: nothing is refreshed, so that nothing can be lost."""
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("OMNI_REFRESH_STATE_DIR", str(tmp_path / "file"))
    done = call(capfd, "plan", write_manifest(tmp_path))
    assert done.code == 0
    assert "error  the journal " in done.err


def test_a_long_scope_is_shown_as_several_calls(tmp_path: Path, capfd: Any) -> None:
    """One refresh, several calls; the scope is shown shortly."""
    tables = [f"warehouse.table_{n:010d}" for n in range(1500)]
    entry = {"id": uuid(1), "name": "m", "connection": "c", "schemas": ["warehouse"], "tables": tables}
    done = call(capfd, "plan", write_manifest(tmp_path, entry))
    words = " ".join(done.out.split())
    assert "in 6 calls" in words
    assert "and 1497 more" in words
    document = call(capfd, "plan", write_manifest(tmp_path, entry), "--json").document
    assert len(document["refreshes"][0]["calls"]) == 6


def test_many_refreshes_are_cut(tmp_path: Path, capfd: Any) -> None:
    """The table has at most 200 rows; the document has them all."""
    many = [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}"} for n in range(1, 252)]
    manifest = write_manifest(tmp_path, *many)
    assert "and 51 more; --json has them all" in call(capfd, "plan", manifest).out
    assert len(call(capfd, "plan", manifest, "--json").document["refreshes"]) == 251


def test_what_people_named_steers_nothing(tmp_path: Path, capfd: Any) -> None:
    """Names with control characters and workflow commands are made harmless on the terminal."""
    names = ["\x1b[31mred\x07", "::error::x"]
    entries = [{"id": uuid(n), "name": name, "connection": name} for n, name in enumerate(names)]
    path = tmp_path / "m.yaml"
    write_manifest(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "models": entries}), encoding="utf-8")
    done = call(capfd, "plan", str(path))
    assert "\x1b" not in done.out
    assert "\x07" not in done.out
    assert not [line for line in done.out.splitlines() if line.lstrip().startswith("::")]


def test_a_branch_pattern_is_shown(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan lists the branches that a pattern stands for, with the limit, in the table and as JSON."""
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)
    models = [{"name": "Sales", "branches": ["dev", "pr-1", "pr-2"], "connection": "wh"}]
    staged = make_scenario(models=models, connections=[{"name": "wh", "branch_based": True}])
    with serving(staged) as simulator:
        instances = {"sim": {"base_url": simulator.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
        path = write_manifest(tmp_path, {"model": "Sales", "branch": "pr-*"}, instances=instances)
        table = call(capfd, "plan", path)
        document = call(capfd, "plan", path, "--json", "--select", "branch:pr-2").document
        calls = len(simulator.calls)
    assert table.code == 0, table.err
    assert "Sales@pr-*: 2 branches (at most 20): pr-1, pr-2" in table.out
    assert "hard refresh of Sales@pr-1" in table.out
    (pattern,) = document["branch_patterns"]
    assert (pattern["name"], pattern["pattern"], pattern["max_branches"]) == ("Sales@pr-*", "pr-*", 20)
    assert [one["branch"] for one in pattern["branches"]] == ["pr-2"]
    assert [one["branch"] for one in document["refreshes"]] == ["pr-2"]
    assert calls == 2
