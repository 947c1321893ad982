"""Lists of names, and names themselves."""

from pathlib import Path

import pytest

from orchestrator.changes.change_set import (
    Change,
    ChangeSet,
    Effect,
    NotRefreshed,
    NotUnderstood,
    ObjectName,
    merge,
    shorten,
)
from orchestrator.changes.dialects import DIALECTS, dialect_named
from orchestrator.changes.errors import ChangesError
from orchestrator.changes.files import ADDITIVE_ONLY, parse_listed, read_names
from orchestrator.changes.session import fold, parse_name


def nothing() -> bytes:
    """Standard input that must not be read."""
    raise AssertionError


@pytest.mark.parametrize(
    "text, name, shown",
    [
        ("sales", ObjectName(None, "sales", None), "sales.*"),
        ("sales.*", ObjectName(None, "sales", None), "sales.*"),
        ("sales.orders", ObjectName(None, "sales", "orders"), "sales.orders"),
        ("prod.sales.orders", ObjectName("prod", "sales", "orders"), "prod.sales.orders"),
        ("prod.sales.*", ObjectName("prod", "sales", None), "prod.sales.*"),
        ("prod.*.*", ObjectName("prod", None, None), "prod.*.*"),
        ("?.orders", ObjectName(None, None, "orders"), "?.orders"),
        ("sales.ledger_*", ObjectName(None, "sales", "ledger_*"), "sales.ledger_*"),
        ('"odd.name".`x"y`', ObjectName(None, "odd.name", 'x"y'), '"odd.name"."x""y"'),
        ('s."*"', ObjectName(None, "s", None), "s.*"),
        ("[a]]b].[c d]", ObjectName(None, "a]b", "c d"), "a]b.c d"),
        ("my-project.ds.2024_t", ObjectName("my-project", "ds", "2024_t"), "my-project.ds.2024_t"),
    ],
)
def test_listed_names_are_taken_as_written(text: str, name: ObjectName, shown: str) -> None:
    """Listed names keep their letter case, lose their quotes, and are shown unambiguously."""
    assert parse_listed(text) == name
    assert str(name) == shown


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a.b.c.d", '"open', '"a"b', "*", 'a."', "a b].c", " . "])
def test_an_invalid_name_is_an_error(text: str) -> None:
    """Empty parts, open quotes, too many parts and a single star are errors that say what to write."""
    with pytest.raises(ChangesError):
        parse_listed(text)


def test_names_come_from_the_line_files_and_stdin(tmp_path: Path) -> None:
    """`@FILE` and `-` hold one name per line; comments and empty lines are skipped; each change has its line."""
    file = tmp_path / "names.txt"
    file.write_text("# what the job wrote\n\nsales.orders\r\n  finance \n")
    found = read_names(["a.b", f"@{file}", "-"], stdin=lambda: b"x.y\n")
    assert [(str(each.name), each.source, each.line) for each in found.changes] == [
        ("a.b", "--changed", 0),
        ("sales.orders", str(file), 3),
        ("finance.*", str(file), 4),
        ("x.y", "<stdin>", 1),
    ]
    assert {each.effect for each in found.changes} == {Effect.ADDITIVE}
    assert found.warnings == (ADDITIVE_ONLY,)
    assert read_names([], stdin=nothing) == ChangeSet()


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    """A missing file, or an invalid line in a file, is an error with its place."""
    file = tmp_path / "names.txt"
    file.write_text("a.b\na..b\n")
    with pytest.raises(ChangesError, match=r"names\.txt:2: 'a\.\.b'") as refused:
        read_names([f"@{file}"], stdin=nothing)
    assert refused.value.code == "invalid-name"
    with pytest.raises(ChangesError, match="nowhere") as refused:
        read_names([f"@{tmp_path / 'nowhere'}"], stdin=nothing)
    assert refused.value.code == "unreadable-file"


def test_the_document_has_the_promised_shape() -> None:
    """`to_json` gives changes, what was not understood and what was not refreshed, and nothing that steers a terminal."""
    change = Change(
        name=ObjectName(None, "s", "t\x1b"), effect=Effect.DESTRUCTIVE, source="a.sql", line=12, reason="drops\nit"
    )
    found = ChangeSet(
        changes=(change,),
        not_understood=(NotUnderstood(source="a.sql", line=3, text=shorten("FROB\n  x" + "y" * 999)),),
        not_refreshed=(NotRefreshed(node="model.a.b", reason="error"),),
        warnings=("w",),
    )
    document = merge(found, ChangeSet(warnings=("w", "v"))).to_dict()
    assert list(document) == ["changes", "not_understood", "not_refreshed"]
    assert document["changes"] == [
        {"name": "s.t\\x1b", "effect": "destructive", "source": "a.sql", "line": 12, "reason": "drops it"}
    ]
    assert document["not_understood"][0]["line"] == 3
    assert len(str(document["not_understood"][0]["text"])) == 200
    assert document["not_refreshed"] == [{"node": "model.a.b", "reason": "error"}]
    assert merge(found, ChangeSet(warnings=("w", "v"))).warnings == ("w", "v")
    assert merge() == ChangeSet()


@pytest.mark.parametrize(
    "dialect, text, stored",
    [
        ("snowflake", 'a."b".C', ["A", "b", "C"]),
        ("postgres", 'A."B".c', ["a", "B", "c"]),
        ("redshift", 'A."B".c', ["a", "b", "c"]),
        ("databricks", "A.`B`.c", ["a", "b", "c"]),
        ("bigquery", "`p-1.Ds.T`", ["p-1", "Ds", "T"]),
        ("bigquery", "p-1.Ds.2024_t", ["p-1", "Ds", "2024_t"]),
        ("mysql", "Db.`T`", ["Db", "T"]),
        ("mysql", '"Db"."T"', ["Db", "T"]),
        ("tsql", "[Db].dbo.[T]", ["Db", "dbo", "T"]),
        ("duckdb", 'Db.main."T"', ["Db", "main", "T"]),
    ],
)
def test_names_are_folded_as_the_warehouse_stores_them(dialect: str, text: str, stored: list[str]) -> None:
    """Names are folded and unquoted by the rules of each warehouse."""
    parts = parse_name(text, DIALECTS[dialect])
    assert parts is not None
    assert [fold(part, DIALECTS[dialect]) for part in parts] == stored


@pytest.mark.parametrize(
    "text", ["", "a b", "a.", "'x'", "5 +", "a.b.c.d.e.f", "$x", "IDENTIFIER(x)", "IDENTIFIER('a b')"]
)
def test_other_text_is_not_a_name(text: str) -> None:
    """Text that is not a complete name is not a name."""
    assert parse_name(text, DIALECTS["snowflake"]) is None


def test_dialects_have_other_names() -> None:
    """Common names of a dialect are accepted."""
    assert dialect_named(" PostgreSQL ").name == "postgres"
    assert dialect_named("mssql").name == "tsql"


def test_a_name_that_is_listed_twice_is_one_change(tmp_path: Path) -> None:
    """Repeated names are merged; the first place is kept."""
    (tmp_path / "names").write_text("a.b\nc.d\na.b\n")
    found = read_names(["a.b", f"@{tmp_path / 'names'}", "e"], stdin=bytes)
    assert [change.name for change in found.changes] == [
        ObjectName(None, "a", "b"),
        ObjectName(None, "c", "d"),
        ObjectName(None, "e", None),
    ]
    assert found.changes[0].line == 0
