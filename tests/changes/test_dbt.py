"""What a dbt invocation built, from its artifacts."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.changes.change_set import ChangeSet
from orchestrator.changes.dbt import COLUMNS_MAY_STAY, read_dbt
from orchestrator.changes.errors import ChangesError
from tests.changes.reading import told

V12 = "https://schemas.getdbt.com/dbt/manifest/v12.json"
OTHER: dict[str, Any] = {"test.shop.x": "success"}


def node(name: str, **said: Any) -> dict[str, Any]:
    """One node as dbt writes it, with what `said` sets."""
    config = {"materialized": said.pop("materialized", "table"), "on_schema_change": "ignore", **said.pop("config", {})}
    return {
        "resource_type": "model",
        "name": name,
        "alias": name,
        "database": "dev",
        "schema": "main",
        "relation_name": f'"dev"."main"."{name}"',
        "checksum": {"name": "sha256", "checksum": "1"},
        "raw_code": "select 1",
        "columns": {"id": {"name": "id", "description": "x", "data_type": None}},
        "depends_on": {"nodes": said.pop("parents", []), "macros": said.pop("macros", [])},
        "config": config,
        **said,
    }


def manifest(
    folder: Path, *, adapter: str = "duckdb", version: str = V12, extra: dict[str, Any] | None = None, **nodes: Any
) -> Path:
    """Writes a manifest; keyword arguments are models by name."""
    folder.mkdir(exist_ok=True)
    document = {
        "metadata": {"dbt_schema_version": version, "adapter_type": adapter},
        "nodes": {(key if "." in key else f"model.shop.{key}"): value for key, value in nodes.items()},
        **(extra or {}),
    }
    (folder / "manifest.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def results(folder: Path, which: str | None = "build", *, full_refresh: bool = False, **statuses: str) -> Path:
    """Writes run results; keyword arguments are statuses by model."""
    folder.mkdir(exist_ok=True)
    document = {
        "metadata": {},
        "args": {"which": which, "full_refresh": full_refresh} if which else {},
        "results": [
            {"unique_id": key if "." in key else f"model.shop.{key}", "status": status, "message": f"about {key}\nmore"}
            for key, status in statuses.items()
        ],
    }
    (folder / "run_results.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def read(target: Path, state: Path | None = None) -> ChangeSet:
    """What was built."""
    return read_dbt(target, state_dir=state)


def test_what_was_built_is_what_changed(tmp_path: Path) -> None:
    """Models, seeds and snapshots that succeeded are changes; errors and skips are named; tests, ephemeral models and the rest are not."""
    others: dict[str, Any] = {
        "seed.shop.s": node("s", resource_type="seed", materialized="seed"),
        "snapshot.shop.n": node("n", resource_type="snapshot", materialized="snapshot"),
        "test.shop.t": node("t", resource_type="test"),
        "operation.shop.o": node("o", resource_type="operation"),
    }
    manifest(
        tmp_path,
        a=node("a"),
        b=node("b"),
        c=node("c"),
        e=node("e", materialized="ephemeral"),
        p=node("p"),
        **others,
    )
    statuses: dict[str, Any] = {
        "a": "success",
        "b": "error",
        "c": "skipped",
        "e": "success",
        "p": "Partial Success",
        "seed.shop.s": "success",
    }
    statuses |= {
        "snapshot.shop.n": "success",
        "test.shop.t": "fail",
        "operation.shop.o": "success",
        "exposure.shop.x": "no-op",
    }
    found = read(results(tmp_path, **statuses))
    assert told(found) == ["+dev.main.a", "+dev.main.p", "+dev.main.s", "+dev.main.n"]
    assert [(each.node, each.reason) for each in found.not_refreshed] == [
        ("model.shop.b", "error: about b more"),
        ("model.shop.c", "skipped: about c more"),
        ("model.shop.p", found.not_refreshed[2].reason),
    ]
    assert found.not_refreshed[2].reason.endswith(": about p more")
    assert found.warnings == (COLUMNS_MAY_STAY,)
    assert "model.shop.a (table)" in found.changes[0].reason


def test_nothing_built_is_no_change(tmp_path: Path) -> None:
    """An invocation that built nothing gives nothing, not even the warning about columns."""
    found = read(results(manifest(tmp_path, a=node("a")), a="skipped"))
    assert (found.changes, found.warnings) == ((), ())


@pytest.mark.parametrize("which", ["run", "build", "seed", "snapshot", "clone"])
def test_commands_that_build_are_read(tmp_path: Path, which: str) -> None:
    """The results of every command that builds are taken."""
    assert told(read(results(manifest(tmp_path, a=node("a")), which, a="success"))) == ["+dev.main.a"]


@pytest.mark.parametrize("which", ["test", "compile", "generate", "run-operation", "freshness", "show"])
def test_other_commands_are_refused(tmp_path: Path, which: str) -> None:
    """What another command left says nothing about what was built: the message names it and what to do."""
    with pytest.raises(ChangesError, match=rf"left by dbt {which}.*--target-path"):
        read(results(manifest(tmp_path, a=node("a")), which, a="success"))


def test_silence_is_warned_of(tmp_path: Path) -> None:
    """A file that does not say which command left it may be of any: a warning says so."""
    folder = manifest(tmp_path, a=node("a"))
    assert "which command" in read(results(folder, None, a="success")).warnings[0]


@pytest.mark.parametrize(
    "adapter, relation, expected",
    [
        ("snowflake", "ANALYTICS.dbt_ann.orders", "+ANALYTICS.DBT_ANN.ORDERS"),
        ("snowflake", 'ANALYTICS.dbt_ann."Orders"', "+ANALYTICS.DBT_ANN.Orders"),
        ("bigquery", "`proj-1`.`Ds`.`Orders`", "+proj-1.Ds.Orders"),
        ("databricks", "`Main`.`Sales`.`orders`", "+main.sales.orders"),
        ("spark", "sales.orders", "+sales.orders"),
        ("redshift", '"dev"."Sales"."Orders"', "+dev.sales.orders"),
        ("postgres", '"dev"."Sales"."odd.name"', '+dev.Sales."odd.name"'),
        ("sqlserver", '"dev"."dbo"."Orders"', "+dev.dbo.Orders"),
        ("someday", '"dev"."dbo"."Orders"', "+dev.dbo.Orders"),
        ("snowflake", None, "+DEV.MAIN.M"),
        ("redshift", None, "+dev.main.m"),
        ("postgres", None, "+dev.main.m"),
        ("postgres", "not a name", "+dev.main.m"),
        ("postgres", '"{{ x }}"."y"."z"', "+dev.main.m"),
    ],
)
def test_names_are_those_of_the_warehouse(tmp_path: Path, adapter: str, relation: str | None, expected: str) -> None:
    """The relation's quotes decide the case; without one the parts do, as the adapter writes them."""
    manifest(tmp_path, adapter=adapter, m=node("m", relation_name=relation))
    assert told(read(results(tmp_path, m="success"))) == [expected]


def test_a_node_without_a_name_widens(tmp_path: Path) -> None:
    """What was built and cannot be named is never dropped: it counts as touching everything."""
    manifest(
        tmp_path,
        m=node("m", relation_name=None, schema=None),
        n=node("n", relation_name=None, database=None, alias=None),
    )
    found = read(results(tmp_path, m="success", n="success", gone="success", **OTHER))
    assert [each.text for each in found.not_understood] == ["model.shop.m", "model.shop.gone"]
    assert told(found) == ["+main.n"]


@pytest.mark.parametrize(
    "version, warned",
    [
        ("https://schemas.getdbt.com/dbt/manifest/v9.json", False),
        ("https://schemas.getdbt.com/dbt/manifest/v11.json", False),
        (V12, False),
        ("https://schemas.getdbt.com/dbt/manifest/v20.json", True),
        ("https://schemas.getdbt.com/dbt/manifest/v8.json", True),
        ("", True),
    ],
)
def test_versions(tmp_path: Path, version: str, *, warned: bool) -> None:
    """Known versions are quiet; an unknown one is read as far as it goes, with a warning."""
    found = read(results(manifest(tmp_path, version=version, a=node("a")), a="success"))
    assert told(found) == ["+dev.main.a"]
    assert (len(found.warnings) == 2) is warned


def test_unknown_additions_are_tolerated(tmp_path: Path) -> None:
    """New fields, new languages, missing keys and odd types do no harm."""
    strange = {
        "resource_type": "model",
        "language": "javascript",
        "schema": "s",
        "name": "x",
        "config": [1],
        "columns": 5,
        "new": {},
    }
    manifest(tmp_path, extra={"sources": None, "macros": {"m": 5}, "metadata": None, "other": [1]}, a=strange)
    (tmp_path / "run_results.json").write_text(
        json.dumps({"args": None, "results": [{"unique_id": "model.shop.a", "status": "success"}, 5, {"status": 7}]})
    )
    assert told(read(tmp_path)) == ["+s.x"]


@pytest.mark.parametrize(
    "file, text, message",
    [
        ("run_results.json", None, r"run_results\.json: .* target"),
        ("manifest.json", None, r"manifest\.json: "),
        ("manifest.json", '{"nodes": {', r"manifest\.json:1: .* column 12"),
        ("manifest.json", "[]", "not a JSON object"),
        ("manifest.json", '{"results": []}', "it has no nodes"),
        ("run_results.json", '{"nodes": {}, "results": []}', "it has no results"),
        ("run_results.json", "{}", "it has no results"),
        ("run_results.json", "[" * 100_000, "nested too deeply|cut short"),
    ],
)
def test_wrong_files_end_in_one_line(tmp_path: Path, file: str, text: str | None, message: str) -> None:
    """A file that is missing, cut short, of another sort or hostile is told in one line, with its name."""
    results(manifest(tmp_path, a=node("a")), a="success")
    (tmp_path / file).unlink()
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises(ChangesError, match=message) as refused:
        read(tmp_path)
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_end_in_one_line(tmp_path: Path) -> None:
    """An artifact in another encoding is refused."""
    results(manifest(tmp_path, a=node("a")), a="success")
    (tmp_path / "manifest.json").write_bytes(b'{"nodes": "\xe9\xff"}')
    with pytest.raises(ChangesError, match="not UTF-8"):
        read(tmp_path)


def with_state(tmp_path: Path, before: dict[str, Any], after: dict[str, Any], **how: Any) -> list[str]:
    """What a run touched whose nodes were `before` and are `after`."""
    extra = {key: how.pop(key) for key in ("old", "new") if key in how}
    state = manifest(tmp_path / "state", extra=extra.get("old"), **before)
    target = manifest(tmp_path / "target", extra=extra.get("new"), **after)
    results(target, full_refresh=how.pop("full_refresh", False), **dict.fromkeys(after, "success"))
    built: dict[str, Any] = dict.fromkeys(before, "success")
    results(state, **built)
    found = read(target, state)
    assert not found.warnings
    return [each.replace("dev.main.", "") for each in told(found)]


def test_an_unchanged_project_is_additive(tmp_path: Path) -> None:
    """Where no definition changed, nothing can be gone: descriptions and tags are no definitions."""
    after = node("a", columns={"id": {"name": "id", "description": "other", "data_type": None}}, config={"tags": ["x"]})
    assert with_state(tmp_path, {"a": node("a")}, {"a": after}) == ["+a"]


@pytest.mark.parametrize(
    "change",
    [
        {"checksum": {"name": "sha256", "checksum": "2"}},
        {"raw_code": "select 2"},
        {"config": {"materialized": "view"}},
        {"columns": {"id": {"data_type": "int"}}},
        {"alias": "a", "columns": {}},
    ],
)
def test_a_changed_definition_is_destructive(tmp_path: Path, change: dict[str, Any]) -> None:
    """Code, settings and declared columns make a definition."""
    assert with_state(tmp_path, {"a": node("a"), "b": node("b")}, {"a": node("a", **change), "b": node("b")}) == [
        "-a",
        "+b",
    ]


def test_what_is_upstream_counts(tmp_path: Path) -> None:
    """A change reaches everything downstream, through ephemeral models, sources and macros of the project, also in rings."""

    def project(mark: str) -> dict[str, Any]:
        return {
            "a": node("a", raw_code=mark),
            "e": node("e", materialized="ephemeral", parents=["model.shop.a"]),
            "b": node("b", parents=["model.shop.e", "model.shop.c"]),
            "c": node("c", parents=["model.shop.b"]),
            "d": node("d", parents=["source.shop.raw.x"]),
            "m": node("m", macros=["macro.shop.cents", "macro.dbt.ref"]),
            "z": node("z", macros=["macro.dbt.ref", "macro.dbt_duckdb.x"]),
        }

    def around(mark: str) -> dict[str, Any]:
        return {
            "sources": {"source.shop.raw.x": {"identifier": mark, "schema": "raw"}},
            "macros": {
                name: {"macro_sql": mark} for name in ("macro.shop.cents", "macro.dbt.ref", "macro.dbt_duckdb.x")
            },
        }

    found = with_state(tmp_path, project("1"), project("2"), old=around("1"), new=around("2"))
    assert found == ["-a", "-b", "-c", "-d", "-m", "+z"]


@pytest.mark.parametrize(
    "said, full_refresh, expected",
    [
        ({"materialized": "incremental"}, False, "+"),
        ({"materialized": "incremental", "config": {"on_schema_change": "append_new_columns"}}, False, "+"),
        ({"materialized": "incremental", "config": {"on_schema_change": "sync_all_columns"}}, False, "-"),
        ({"materialized": "incremental"}, True, "-"),
        ({"materialized": "incremental", "config": {"full_refresh": False}}, True, "+"),
        ({"materialized": "incremental", "config": {"full_refresh": True}}, False, "-"),
        ({"materialized": "snapshot", "resource_type": "snapshot"}, True, "+"),
        ({"materialized": "seed", "resource_type": "seed"}, False, "-"),
        ({"materialized": "dynamic_table"}, False, "-"),
        ({"materialized": "materialized_view"}, False, "-"),
        ({"materialized": "view"}, False, "-"),
    ],
)
def test_a_materialization_may_keep_its_columns(
    tmp_path: Path, said: dict[str, Any], expected: str, *, full_refresh: bool
) -> None:
    """Only what can drop columns is destructive: not a snapshot, nor an incremental model that is added to."""
    before, after = node("a", **dict(said)), node("a", raw_code="select 2", **dict(said))
    assert with_state(tmp_path, {"a": before}, {"a": after}, full_refresh=full_refresh) == [f"{expected}a"]


def test_a_new_node_is_additive_unless_it_takes_a_table(tmp_path: Path) -> None:
    """What was not there cannot have lost anything; a node that builds what another one built can."""
    after = {"a": node("a"), "new": node("new"), "mine": node("mine", relation_name='"dev"."main"."old"')}
    found = with_state(tmp_path, {"a": node("a"), "old": node("old")}, after)
    assert found == ["+a", "+new", "-old"]


def test_a_state_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A state folder without a manifest is named."""
    results(manifest(tmp_path / "t", a=node("a")), a="success")
    with pytest.raises(ChangesError, match="is not there"):
        read(tmp_path / "t", tmp_path)
