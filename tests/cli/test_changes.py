"""`changes`: what was touched, for people and as JSON, without a manifest."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.changes.dialects import DIALECTS
from orchestrator.cli import suggestions
from tests.cli.commands import Done, call

SQL = """CREATE TABLE finance.invoices (id int);
ALTER TABLE finance.orders ADD COLUMN x int;
DROP TABLE hr.people;
FROBNICATE the thing;
"""


Here = Callable[..., Done]


@pytest.fixture
def here(capfd: Any) -> Here:
    """Runs a command in this process."""
    return partial(call, capfd)


@pytest.fixture
def migration(tmp_path: Path) -> str:
    """A migration in the working directory."""
    (tmp_path / "V3__x.sql").write_text(SQL, encoding="utf-8")
    return "V3__x.sql"


def test_the_document_is_the_contract(here: Here, migration: str) -> None:
    """With --json stdout is one document: changes, what was not understood, what was not built, and nothing else."""
    done = here("changes", "--ddl", migration, "--dialect", "postgres", "--changed", "sales", "--json")
    assert done.code == 0
    assert set(done.document) == {"changes", "not_understood", "not_refreshed"}
    assert done.document["changes"][0] == {
        "name": "finance.invoices",
        "effect": "additive",
        "source": "V3__x.sql",
        "line": 1,
        "reason": "creates the table",
    }
    assert [(c["name"], c["effect"], c["line"]) for c in done.document["changes"][1:]] == [
        ("finance.orders", "additive", 2),
        ("hr.people", "destructive", 3),
        ("sales.*", "additive", 0),
    ]
    assert done.document["not_understood"] == [{"source": "V3__x.sql", "line": 4, "text": "FROBNICATE the thing"}]
    assert done.document["not_refreshed"] == []
    assert "a list of names" in done.err


def test_people_read_a_line_for_each_change(here: Here, migration: str) -> None:
    """Without --json each change has a line with its sign, its name and its place; the end counts them."""
    done = here("changes", "--ddl", migration, "--dialect", "postgres")
    assert done.code == 0
    assert done.out.splitlines() == [
        "+ finance.invoices  V3__x.sql:1  creates the table",
        "+ finance.orders    V3__x.sql:2  adds a column",
        "- hr.people         V3__x.sql:3  drops the table",
        "? V3__x.sql:4: not understood (this form of statement is not known), touches everything: FROBNICATE the thing",
        "",
        "3 changes (2 additive, 1 destructive), 1 not understood",
    ]
    assert done.err == ""


def test_lists_and_values(here: Here, tmp_path: Path, migration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """--ddl-list reads the files that a list names, and --set fills their placeholders."""
    (tmp_path / "V4__y.sql").write_text("DROP TABLE ${schema}.t", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"V4__y.sql\n")))
    done = here("changes", "--ddl-list", "-", "--dialect", "postgres", "--set", "schema=plant", "--strict")
    assert (done.code, done.out.splitlines()[0]) == (0, "- plant.t  V4__y.sql:1  drops the table")
    refused = here("changes", "--ddl", "V4__y.sql", "--dialect", "postgres")
    assert refused.code == 2
    assert "--set schema=VALUE" in refused.err


def test_nothing_affected_is_no_error(here: Here, tmp_path: Path) -> None:
    """Migrations that change nothing give an empty answer and exit code 0."""
    (tmp_path / "x.sql").write_text("GRANT SELECT ON t TO r", encoding="utf-8")
    done = here("changes", "--ddl", "x.sql", "--dialect", "postgres")
    assert (done.code, done.out) == (0, "0 changes\n")


def test_strict_ends_with_what_is_not_understood(here: Here, migration: str) -> None:
    """With --strict a statement that is not understood is exit code 2, with its file and line, and nothing on stdout."""
    done = here("changes", "--ddl", migration, "--dialect", "postgres", "--strict")
    assert (done.code, done.out) == (2, "")
    assert "V3__x.sql:4" in done.err


def test_a_dialect_left_out_is_reported(here: Here, migration: str) -> None:
    """Without --dialect the SQL is read as PostgreSQL's, with a warning; an unknown dialect is exit code 2."""
    done = here("changes", "--ddl", migration)
    assert done.code == 0
    assert "no --dialect is given" in done.err
    wrong = here("changes", "--ddl", migration, "--dialect", "oracle")
    assert wrong.code == 2
    assert "snowflake, postgres, bigquery" in wrong.err


def test_the_help_names_every_dialect() -> None:
    """The dialects in the help are those that there are."""
    assert tuple(DIALECTS) == suggestions.DIALECTS


@pytest.mark.parametrize(
    "words, complaint",
    [
        ([], "no change is given"),
        (["--dialect", "mysql", "--changed", "a"], "--dialect needs --ddl"),
        (["--strict", "--changed", "a"], "--strict needs --ddl"),
        (["--default-schema", "s", "--changed", "a"], "--default-schema needs --ddl"),
        (["--dbt-state", "x", "--changed", "a"], "--dbt-state needs --dbt-target"),
        (["--ddl", "-", "--changed", "-"], "can be read only once"),
        (["--ddl", "-", "--ddl-list", "-"], "can be read only once"),
        (["--set", "a=b", "--changed", "a"], "--set needs --ddl"),
        (["--ddl", "-", "--set", "a"], "write NAME=VALUE"),
        (["--ddl", "-", "--set", "a=..."], "the value is missing"),
        (["--ddl", "missing.sql"], "no such file or folder"),
        (["--dbt-target", "missing"], "missing"),
        (["--changed", "a..b"], "is no name"),
    ],
)
def test_what_does_not_fit_is_exit_2(here: Here, words: list[str], complaint: str) -> None:
    """Options that do not fit together, and what cannot be read, end with one line and exit code 2."""
    done = here("changes", *words)
    assert (done.code, done.out) == (2, "")
    assert complaint in done.err
    assert "Traceback" not in done.err


def test_variables_for_many_commands_disturb_none(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialect in the environment says nothing where no SQL is read."""
    monkeypatch.setenv("OMNI_REFRESH_DIALECT", "snowflake")
    monkeypatch.setenv("OMNI_REFRESH_DEFAULT_SCHEMA", "PUBLIC")
    assert here("changes", "--changed", "a").code == 0


def test_dbt_and_standard_input(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """What dbt did not build has a line of its own; SQL and lists may come from standard input."""
    artifacts = str(Path(__file__).parents[1] / "recipes" / "dbt" / "second")
    done = here("changes", "--dbt-target", artifacts)
    assert done.code == 0
    assert "! model.shop.after_broken: not built: skipped" in done.out
    assert done.out.endswith("2 changes (2 additive, 0 destructive), 2 not built\n")
    state = here("changes", "--dbt-target", artifacts, "--dbt-state", artifacts.replace("second", "first"), "--json")
    assert [c["effect"] for c in state.document["changes"]] == ["destructive", "additive"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"DROP TABLE a.b")))
    piped = here("changes", "--ddl", "-", "--dialect", "postgres")
    assert piped.out.splitlines()[0] == "- a.b  <stdin>:1  drops the table"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"# a list\na.b\n")))
    assert here("changes", "--changed", "-").out.splitlines()[0] == "+ a.b  <stdin>:2  is listed"
