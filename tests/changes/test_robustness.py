"""Any text gives an answer or one clear error, soon."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.changes.change_set import ChangeSet, ReaderWarnings
from orchestrator.changes.dialects import DIALECTS
from orchestrator.changes.errors import ChangesError
from orchestrator.changes.files import decode
from orchestrator.changes.lexer import words
from orchestrator.changes.reader import read_sql

PIECES = (
    *sorted(
        words("""
    CREATE TABLE VIEW SCHEMA DROP ALTER ADD COLUMN RENAME TO IF EXISTS NOT BEGIN END CASE WHEN THEN
    ELSE LOOP DO $$ $a$ ' ` [ ] ( ) ; , . -- /* */ /*!50000 # // EXEC sp_rename PREPARE FROM INTO
    SELECT a s.t @x = || + DECLARE SET USE search_path TRIGGER FUNCTION AS r' ''' IDENTIFIER( MODIFY
    TYPE varchar(10) PARTITION CONCAT( FORMAT( : :=
    """)
    ),
    "OR REPLACE",
    "SWAP WITH",
    '"',
    "\n",
    "\nGO\n",
    "DELIMITER //\n",
    "EXECUTE IMMEDIATE",
    "E'\\'",
    "\\i x\n",
    "COPY x FROM stdin;\n",
    "\\.\n",
    "-- migrate:down\n",
    "-- +goose Up\n",
    "\0",
)
SQL = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join))
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def answer(sql: str, dialect: str, **values: str) -> ChangeSet | ChangesError:
    """What the text touches, or the error that it ends in; nothing else may come."""
    try:
        return read_sql(sql, source="x.sql", dialect=dialect, values=values)
    except ChangesError as refused:
        return refused


@QUICK
@given(sql=SQL, dialect=st.sampled_from(sorted(DIALECTS)))
@example(sql="CREATE TABLE", dialect="postgres")
@example(sql="EXECUTE IMMEDIATE CASE", dialect="snowflake")
@example(sql="ALTER TABLE a ALTER (", dialect="snowflake")
@example(sql="EXEC (", dialect="tsql")
def test_any_text_gives_a_change_set_or_a_clear_error(sql: str, dialect: str) -> None:
    """Any text gives a change set that can be shown, or a `ChangesError`."""
    found = answer(sql, dialect)
    if isinstance(found, ChangesError):
        assert "\n" not in str(found)
    else:
        assert all(change.line >= 1 and str(change.name) for change in found.changes)
        assert len(found.to_dict()["changes"]) == len(found.changes)


@QUICK
@given(
    pieces=st.lists(st.sampled_from((*PIECES, "FROB", "${key}", "'${key}'", "{{ key }}", "${key}_{b}")), max_size=40),
    dialect=st.sampled_from(sorted(DIALECTS)),
)
@example(pieces=["EXECUTE IMMEDIATE", "'FROB ${key}'"], dialect="snowflake")
@example(pieces=["DROP TABLE", "${key}_{b}"], dialect="postgres")
def test_no_message_shows_the_value_of_a_placeholder(pieces: list[str], dialect: str) -> None:
    """No text, reason, warning or error contains the value of a placeholder, for any SQL."""
    found = answer(" ".join(pieces), dialect, key="s3cret")
    shown = str(found) if isinstance(found, ChangesError) else str((found.not_understood, found.warnings))
    assert "s3cret" not in shown


def decoded(data: bytes) -> str | ChangesError:
    """The bytes as text, or why they are none."""
    try:
        return decode(data, "x", ReaderWarnings())
    except ChangesError as refused:
        return refused


@QUICK
@given(data=st.binary(max_size=100))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    """Bytes in an unknown encoding are decoded or refused."""
    found = decoded(data)
    if isinstance(found, ChangesError):
        assert "UTF-16" in str(found)
        assert b"\0" in data or data[:2] in {b"\xff\xfe", b"\xfe\xff"}
    else:
        assert isinstance(found, str)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 4_000 + ")" * 4_000,
        "CREATE VIEW s.v AS SELECT " + "(" * 4_000,
        "FROB " + "(" * 2_000 + ")" * 2_000,
        "CREATE TABLE s.t (" + "a int, " * 4_000 + "b int)",
        "ALTER TABLE s.t " + "ADD a int, " * 2_000 + "ADD b int",
        "/*" * 4_000,
        "'" * 4_001,
        "[" * 4_000 + "]" * 4_000,
        "BEGIN " * 4_000,
        "CASE " * 4_000,
        "CREATE PROCEDURE p AS BEGIN " + "IF x THEN " * 3_000,
        "DROP TABLE " + "a." * 4_000,
        "EXECUTE IMMEDIATE " + "'a' || " * 2_000 + "'b'",
        "SELECT 1 -" * 4_000,
        "{" * 4_000,
        "$" * 4_001,
        "\n" * 50_000 + "DROP TABLE s.t",
    ],
    ids=lambda sql: sql[:16].strip(),
)
@pytest.mark.timeout(10)
def test_large_and_deep_texts_end(sql: str, dialect: str) -> None:
    """Deep nesting, repetition and long lines are read in linear time."""
    assert len(str(answer(sql, dialect))) < 2_000_000
