"""The comparison of `benchmarks.migrations`: a folder run for real, and what the reader said of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import migrations
from benchmarks.clients import split
from orchestrator.changes.change_set import ChangeSet
from orchestrator.changes.reader import read_sql
from tests.changes.engines import Mariadb, Postgres


@pytest.fixture(params=["postgres", "mariadb"])
def engine(request: pytest.FixtureRequest, database: Callable[[str], Any]) -> tuple[str, Postgres | Mariadb]:
    """A server; each measurement makes its own database there."""
    return request.param, database(request.param)


def measure(
    engine: tuple[str, Postgres | Mariadb], folder: Path, read: Callable[..., ChangeSet], **files: str
) -> migrations.Figures:
    """The figures of a folder with these files."""
    for name, sql in files.items():
        (folder / f"{name}.sql").write_text(sql)
    name, running = engine
    return migrations.measure(running, migrations.migrations(folder), engine_name=name, values={}, name="x", read=read)


@pytest.mark.timeout(120)
def test_what_the_reader_says_wrong_is_found(engine: tuple[str, Postgres | Mariadb], tmp_path: Path) -> None:
    """A missed table, an effect that is too weak and a name without a change are each found, at their line."""

    def blind(text: str, **options: Any) -> ChangeSet:
        text = text.replace("CREATE TABLE missed", "COMMENT ON TABLE missed").replace("DROP COLUMN gone", "ADD new int")
        return read_sql(text.replace("INSERT INTO t VALUES (1)", "DROP TABLE t"), **options)

    sql = "CREATE TABLE missed (a int);\nCREATE TABLE t (a int, gone int);\nALTER TABLE t DROP COLUMN gone;\n"
    found = measure(engine, tmp_path, blind, v1=sql + "INSERT INTO t VALUES (1);")
    assert [(each.kind, each.line) for each in found.findings] == [("missed", 1), ("too weak", 3), ("in vain", 4)]
    assert "missed" in found.findings[0].what


@pytest.mark.timeout(120)
def test_a_folder_that_is_read_right_has_no_findings(engine: tuple[str, Postgres | Mariadb], tmp_path: Path) -> None:
    """Files run in the order of their numbers, refused statements count apart, and what is right is not blamed."""
    found = measure(
        engine,
        tmp_path,
        read_sql,
        v10="ALTER TABLE a ADD COLUMN c int;\nDROP TABLE nowhere;\nDROP TABLE a",
        v9="CREATE TABLE a (b int);\nCREATE VIEW v AS SELECT 1 AS one;",
        v9_down="DROP TABLE a;",
    )
    assert (found.files, found.statements, found.refused, found.changes) == (2, 5, 1, 4)
    assert [each.kind for each in found.findings] == ["refused"]


@pytest.mark.parametrize(
    "engine_name, text, pieces",
    [
        ("postgres", "a;\nSELECT ';', $x$;$x$ /* ; /* ; */ */;\n\n-- c\nb", [(1, "a"), (2, "SELECT"), (5, "b")]),
        ("postgres", "CREATE FUNCTION f() BEGIN ATOMIC x; END;\ny;", [(1, "CREATE"), (2, "y")]),
        ("postgres", "a;\n-- +goose Down\nb;", [(1, "a")]),
        ("postgres", "-- c;\ncopy t from stdin;\n1;2\n\\.\nb;", [(2, "copy"), (5, "b")]),
        ("mariadb", "a;\nDELIMITER //\nb; c//\nDELIMITER ;\nd # ;\n;", [(1, "a"), (3, "b"), (5, "d")]),
        ("mariadb", "SELECT 'it\\'s;' -- ;\n;\nx", [(1, "SELECT"), (3, "x")]),
    ],
)
def test_a_text_is_cut_as_a_client_cuts_it(engine_name: str, text: str, pieces: list[tuple[int, str]]) -> None:
    """Semicolons in quotes, comments, bodies and other delimiters end nothing; each statement has its line."""
    cut = [each for each in split(text, engine_name) if migrations.content(each.text)]
    assert [(each.line, migrations.content(each.text).split()[0].rstrip(";")) for each in cut] == pieces
