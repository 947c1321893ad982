"""Which columns a statement drops or renames: by their former names, and never a guessed one."""

import pytest

from tests.changes.reading import read


@pytest.mark.parametrize(
    "dialect, sql, columns",
    [
        ("postgres", "ALTER TABLE s.t DROP COLUMN a", ["a"]),
        ("postgres", "ALTER TABLE s.t DROP COLUMN IF EXISTS Total CASCADE, DROP b, ADD c int", ["total", "b"]),
        ("postgres", 'ALTER TABLE s.t RENAME COLUMN "Total" TO sum', ["Total"]),
        ("postgres", "ALTER TABLE s.t RENAME total TO sum", ["total"]),
        ("snowflake", "ALTER TABLE s.t DROP COLUMN a, b", ["A", "B"]),
        ("snowflake", "ALTER TABLE s.t DROP COLUMN IF EXISTS a, IF EXISTS b", ["A", "B"]),
        ("tsql", "ALTER TABLE dbo.t DROP COLUMN a, COLUMN b", ["a", "b"]),
        ("tsql", "EXEC sp_rename 'dbo.t.total', 'sum', 'COLUMN'", ["total"]),
        ("mysql", "ALTER TABLE s.t CHANGE total sum int", ["total"]),
        ("mysql", "ALTER TABLE s.t CHANGE total Total bigint", []),
        ("databricks", "ALTER TABLE s.t DROP COLUMNS (a, b)", ["a", "b"]),
        ("databricks", "ALTER TABLE s.t DROP COLUMN a.inner_one", ["a.inner_one"]),
        ("postgres", "SELECT DropGeometryColumn('s', 't', 'shape')", ["shape"]),
        ("postgres", "CREATE TABLE s.t (a int, b int); ALTER TABLE s.t RENAME a TO c", ["a"]),
        ("postgres", "ALTER TABLE s.t DROP CONSTRAINT a", []),
        ("postgres", "ALTER TABLE s.t ALTER COLUMN a TYPE int", []),
        ("postgres", "ALTER TABLE s.t RENAME TO u", []),
        ("postgres", "DROP TABLE s.t", []),
        ("postgres", "DO $$ BEGIN EXECUTE 'ALTER TABLE s.t DROP COLUMN ' || x; END $$", []),
    ],
)
def test_dropped_and_renamed_columns_are_named(dialect: str, sql: str, columns: list[str]) -> None:
    """A change names the columns that are gone as the warehouse stores them; what the text does not name stays out."""
    found = read(sql, dialect)
    assert [column for change in found.changes for column in change.columns] == columns
    assert all(change.effect.value == "destructive" for change in found.changes if change.columns)


def test_columns_are_in_the_document_only_if_there_are_any() -> None:
    """`columns` is an optional key of a change."""
    document = read("ALTER TABLE s.t DROP COLUMN a; ALTER TABLE s.t ADD b int").to_dict()
    assert [change.get("columns") for change in document["changes"]] == [["a"], None]
