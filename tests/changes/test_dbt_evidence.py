"""What dbt's artifacts prove: of which invocation they are, what it built, and what a state says of changes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.changes.change_set import ChangeSet
from orchestrator.changes.dbt import COLUMNS_MAY_STAY, read_dbt
from orchestrator.changes.errors import ChangesError
from tests.changes.reading import told
from tests.changes.test_dbt import manifest, node, results

BIG = {"name": "path", "checksum": "seeds/big.csv"}


def edit(folder: Path, file: str, **sections: Any) -> Path:
    """Merge these sections into an artifact."""
    path = folder / file
    document = json.loads(path.read_text(encoding="utf-8"))
    for name, section in sections.items():
        document[name] = {**document.get(name, {}), **section}
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "arguments, is_retry",
    [
        ({"which": "retry"}, True),
        ({"which": "build", "invocation_command": "dbt retry"}, True),
        ({"which": "run", "invocation_command": "dbt --quiet retry --target-path built --vars {run: 1}"}, True),
        ({"which": "build", "invocation_command": "dbt build --select retry"}, False),
        ({"which": "build", "invocation_command": "dbt build"}, False),
        ({"which": "build", "invocation_command": 5}, False),
    ],
)
def test_a_retry_is_recognised(tmp_path: Path, arguments: dict[str, Any], *, is_retry: bool) -> None:
    """After `dbt retry`, whose artifacts say `which: build`, a warning says that only the retried nodes are known."""
    folder = results(manifest(tmp_path, a=node("a")), a="success")
    found = read_dbt(edit(folder, "run_results.json", args=arguments))
    assert told(found) == ["+dev.main.a"]
    assert any("dbt retry" in warning for warning in found.warnings) is is_retry


@pytest.mark.parametrize("kind", ["model", "seed", "snapshot"])
def test_warn_means_built(tmp_path: Path, kind: str) -> None:
    """A model, seed or snapshot with the status `warn` was built."""
    nodes: dict[str, Any] = {f"{kind}.shop.a": node("a", resource_type=kind)}
    statuses: dict[str, Any] = {f"{kind}.shop.a": "warn"}
    found = read_dbt(results(manifest(tmp_path, **nodes), **statuses))
    assert (told(found), found.not_refreshed) == (["+dev.main.a"], ())


def test_artifacts_of_two_invocations_are_refused(tmp_path: Path) -> None:
    """A manifest that another invocation has overwritten is refused, with both ids and what to do."""
    folder = results(manifest(tmp_path, a=node("a")), a="success")
    edit(folder, "run_results.json", metadata={"invocation_id": "1111"})
    assert told(read_dbt(edit(folder, "manifest.json", metadata={"invocation_id": "1111"}))) == ["+dev.main.a"]
    with pytest.raises(ChangesError, match=r"invocation 1111 and manifest\.json of 2222.*--target-path"):
        read_dbt(edit(folder, "manifest.json", metadata={"invocation_id": "2222"}))


@pytest.mark.parametrize(
    "relation, fits",
    [
        ('"dev"."main"."a"', True),
        ("dev.main.a", True),
        (None, True),
        ('"dev"."dbt_ada"."a"', False),
        ('"prod"."main"."a"', False),
        ('"dev"."main"."b"', False),
    ],
)
def test_a_relation_that_the_manifest_contradicts_is_refused(
    tmp_path: Path, relation: str | None, *, fits: bool
) -> None:
    """Results that name another table than the manifest are of another invocation; another spelling of one name is not."""
    folder = results(manifest(tmp_path, a=node("a")), a="success")
    path = folder / "run_results.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["results"][0]["relation_name"] = relation
    path.write_text(json.dumps(document), encoding="utf-8")
    if fits:
        assert told(read_dbt(folder)) == ["+dev.main.a"]
    else:
        with pytest.raises(ChangesError, match=r"model\.shop\.a as .* as "):
            read_dbt(folder)


@pytest.mark.parametrize("status, is_built", [("pass", True), ("warn", True), ("fail", True), ("error", False)])
@pytest.mark.parametrize("where", ["arguments", "config", "config_as"])
def test_stored_failures_are_tables(tmp_path: Path, where: str, status: str, *, is_built: bool) -> None:
    """A test that stores its failures builds a table of them, empty or not; one that does not is nothing in the warehouse."""
    config = {"config": {"store_failures": True}, "config_as": {"store_failures_as": "table"}}.get(where, {})
    stored = node("stored", resource_type="test", relation_name='"dev"."audit"."stored"', config=config)
    plain = node("plain", resource_type="test", config={"store_failures": False})
    nodes: dict[str, Any] = {"test.shop.stored": stored, "test.shop.plain": plain}
    statuses: dict[str, Any] = {"test.shop.stored": status, "test.shop.plain": status}
    folder = results(manifest(tmp_path, **nodes), **statuses)
    path = folder / "run_results.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["args"]["store_failures"] = where == "arguments"
    path.write_text(json.dumps(document), encoding="utf-8")
    found = read_dbt(folder)
    assert told(found) == (["+dev.audit.stored"] if is_built else [])
    assert (found.not_refreshed, found.not_understood) == ((), ())


def compared(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], *, old: str | None = "success", **kept: str
) -> ChangeSet:
    """A run that built all of `after`, against a state with the manifest `before`, whose nodes ended `old`, but for those `kept`."""
    state, target = manifest(tmp_path / "state", **before), manifest(tmp_path / "target", **after)
    built: dict[str, Any] = dict.fromkeys(after, "success")
    results(target, full_refresh=True, **built)
    if old is not None:
        before_ended: dict[str, Any] = {**dict.fromkeys(before, old), **kept}
        results(state, **before_ended)
    return read_dbt(target, state_dir=state)


def test_a_seed_that_is_known_by_its_path_counts_as_changed(tmp_path: Path) -> None:
    """dbt does not read seeds above 1 MiB for its checksum: such a seed and what is downstream of it count as changed, aloud."""
    project: dict[str, Any] = {
        "seed.shop.big": node("big", resource_type="seed", materialized="seed", checksum=BIG),
        "seed.shop.small": node("small", resource_type="seed", materialized="seed"),
        "b": node("b", parents=["seed.shop.big"]),
        "s": node("s", parents=["seed.shop.small"]),
    }
    found = compared(tmp_path, project, project)
    assert told(found) == ["-dev.main.big", "+dev.main.small", "-dev.main.b", "+dev.main.s"]
    (warning,) = found.warnings
    assert warning.startswith("seed.shop.big: ")
    assert "upstream" in found.changes[0].reason


@pytest.mark.parametrize("status", ["error", "skipped", "fail", "runtime error"])
def test_a_build_that_failed_in_the_state_counts_as_changed(tmp_path: Path, status: str) -> None:
    """The state's manifest holds the new definition although that invocation did not build it: the node counts as changed."""
    project = {"a": node("a"), "b": node("b"), "c": node("c", parents=["model.shop.a"])}
    found = compared(tmp_path, project, project, a=status)
    assert told(found) == ["-dev.main.a", "+dev.main.b", "-dev.main.c"]
    (warning,) = found.warnings
    assert warning.startswith("model.shop.a: ")
    assert "did not build" in warning


def test_a_node_that_the_state_did_not_select_counts_as_changed(tmp_path: Path) -> None:
    """A state of another selection proves nothing about what it did not build."""
    state = results(manifest(tmp_path / "state", a=node("a"), b=node("b")), b="success")
    target = results(manifest(tmp_path / "target", a=node("a"), b=node("b")), a="success", b="success")
    found = read_dbt(target, state_dir=state)
    assert told(found) == ["-dev.main.a", "+dev.main.b"]
    assert [warning.partition(":")[0] for warning in found.warnings] == ["model.shop.a"]


def test_compiled_code_that_differs_counts_as_changed(tmp_path: Path) -> None:
    """A variable or an environment can change what is built: equal raw code with other compiled code counts as changed."""
    before = {"a": node("a", compiled_code="select 1, 2"), "b": node("b", compiled_code="select 1"), "c": node("c")}
    after = {"a": node("a", compiled_code="select 1"), "b": node("b", compiled_code="select 1"), "c": node("c")}
    found = compared(tmp_path, before, {**after, "c": node("c", compiled_code="select 1")})
    assert told(found) == ["-dev.main.a", "+dev.main.b", "+dev.main.c"]
    (warning,) = found.warnings
    assert warning.startswith("model.shop.a: ")
    assert "compiled code differs" in warning


def test_a_doubt_that_decides_nothing_is_not_warned_of(tmp_path: Path) -> None:
    """A node that is changed by its definition, or that keeps its columns, needs no warning about its state."""
    before = {"a": node("a"), "i": node("i", materialized="incremental", config={"full_refresh": False})}
    after = {**before, "a": node("a", raw_code="select 2")}
    found = compared(tmp_path, before, after, old="error")
    assert told(found) == ["-dev.main.a", "+dev.main.i"]
    assert found.warnings == ()


def test_many_doubtful_nodes_are_one_warning(tmp_path: Path) -> None:
    """One warning for each kind of doubt names the first nodes and counts the others."""
    project = {f"m{number}": node(f"m{number}") for number in range(8)}
    (warning,) = compared(tmp_path, project, project, old="error").warnings
    assert "model.shop.m4 and 3 more: " in warning


def test_a_state_without_its_results_is_warned_of(tmp_path: Path) -> None:
    """Without the state's results a failed build in it cannot be seen: a warning says which file to keep."""
    found = compared(tmp_path, {"a": node("a")}, {"a": node("a")}, old=None)
    assert told(found) == ["+dev.main.a"]
    (warning,) = found.warnings
    assert "run_results.json: is not there" in warning


def test_the_target_is_no_state(tmp_path: Path) -> None:
    """The target folder given as its own state, also by another path, is refused: every node would look unchanged."""
    target = results(manifest(tmp_path / "target", a=node("a")), a="success")
    (tmp_path / "link").symlink_to(target)
    for same in (target, tmp_path / "link", tmp_path / "x" / ".." / "target"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(ChangesError, match="itself"):
            read_dbt(target, state_dir=same)
    copy = shutil.copytree(target, tmp_path / "copy")
    assert COLUMNS_MAY_STAY not in read_dbt(target, state_dir=copy).warnings
