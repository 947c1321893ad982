"""Forms at the edges of the rules: statements cut short, rare kinds, sessions, and types."""

import pytest

from orchestrator.changes.change_set import Effect
from orchestrator.changes.column_types import Columns, compare_types
from orchestrator.changes.dialects import DIALECTS
from tests.changes.reading import read, touched, unclear


@pytest.mark.parametrize(
    "sql, dialect",
    [
        *(("CREATE", "postgres"), ("CREATE TABLE", "postgres"), ("CREATE SCHEMA", "postgres")),
        *(
            ("CREATE DATABASE", "postgres"),
            ("CREATE FROBNICATOR x", "postgres"),
            ("DROP", "postgres"),
            ("DROP TABLE", "postgres"),
        ),
        *(
            ("DROP FROBNICATOR x", "postgres"),
            ("DROP TABLE a,", "postgres"),
            ("ALTER", "postgres"),
            ("ALTER TABLE", "postgres"),
        ),
        *(
            ("ALTER FROBNICATOR x", "postgres"),
            ("ALTER SCHEMA a RENAME TO", "postgres"),
            ("ALTER SCHEMA a FROB", "postgres"),
        ),
        *(
            ("ALTER SCHEMA a SWAP WITH", "snowflake"),
            ("ALTER SCHEMA a TRANSFER", "tsql"),
            ("ALTER DATABASE", "postgres"),
        ),
        *(
            ("ALTER DATABASE a RENAME TO", "postgres"),
            ("UNDROP", "snowflake"),
            ("UNDROP TABLE", "snowflake"),
            ("RENAME", "mysql"),
        ),
        *(
            ("UNDROP TABLE WITH ID 'x'", "databricks"),
            ("RENAME TABLE a", "mysql"),
            ("RENAME FROB a TO b", "mysql"),
            ("EXCHANGE", "mysql"),
        ),
        *(
            ("EXCHANGE TABLES a", "mysql"),
            ("EXCHANGE TABLES a AND", "mysql"),
            ("IMPORT", "postgres"),
            ("IMPORT FOREIGN SCHEMA a", "postgres"),
        ),
        *(
            ("IMPORT FOREIGN SCHEMA a FROM SERVER s INTO", "postgres"),
            ("LOAD DATA INTO", "bigquery"),
            ("RESTORE TABLE", "databricks"),
        ),
        *(
            ("CONVERT TO DELTA", "databricks"),
            ("SYNC TABLE", "databricks"),
            ("SYNC x", "databricks"),
            ("CREATE TABLE 5 (a int)", "postgres"),
        ),
        *(
            ("FROBNICATE s.t", "snowflake"),
            ("CREATE TABLE IDENTIFIER(:x) (a int)", "databricks"),
        ),
        *(
            ("EXPLODE", "tsql"),
            ("mine.proc 5", "tsql"),
        ),
    ],
)
def test_incomplete_and_unknown_statements_are_not_understood(sql: str, dialect: str) -> None:
    """A statement that is not known is listed with its line."""
    assert unclear("SELECT 1;\n" + sql, dialect) == [(2, sql)]


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        ("ALTER TABLE s.t FROBNICATE x", "postgres", ["-s.t"]),
        ("ALTER TABLE s.t RENAME TO", "postgres", ["-s.t"]),
        ("ALTER TABLE s.t SWAP WITH", "snowflake", ["-S.T"]),
        ("ALTER TABLE s.t SET SCHEMA", "postgres", ["-s.t"]),
        ("ALTER TABLE s.t ALTER COLUMN", "postgres", ["-s.t"]),
        ("ALTER TABLE s.t CHANGE COLUMN", "mysql", ["-s.t"]),
        ("ALTER TABLE s.t EXCHANGE PARTITION p", "mysql", ["-s.t"]),
        ("ALTER TABLE s.t EXCHANGE PARTITION p WITH TABLE", "mysql", ["-s.t"]),
        ("ALTER TABLE s.t ATTACH PARTITION", "postgres", ["+s.t"]),
        ("ALTER TABLE s.t ALTER (a TYPE int", "snowflake", ["-S.T"]),
        ("ALTER TABLE s.t ALTER COLUMN a TYPE 'odd'", "postgres", ["-s.t"]),
        ("ALTER TABLE s.t", "mysql", []),
        ("ALTER TABLE s.t MODIFY COLUMN a", "snowflake", []),
        ("ALTER TABLE s.t ALTER COLUMN a NOT NULL", "snowflake", []),
    ],
)
def test_an_unknown_clause_of_alter_table_is_destructive(sql: str, dialect: str, expected: list[str]) -> None:
    """An ALTER TABLE with an unknown or incomplete clause is destructive for its table."""
    assert touched(sql, dialect) == expected


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        ("EXCHANGE TABLES s.a AND s.b", "mysql", ["-s.a", "-s.b"]),
        ("CREATE TEMPORARY TABLE a (x int); EXCHANGE TABLES a AND s.b", "mysql", ["-s.b"]),
        (
            "CREATE TEMP TABLE a (x int); ALTER TABLE a RENAME COLUMN x TO y; ALTER TABLE a SET SCHEMA q; ALTER TABLE a RENAME TO b; DROP TABLE b",
            "postgres",
            [],
        ),
        ("CREATE SCHEMA a; ALTER TABLE a.x SWAP WITH y", "snowflake", ["+A.*", "-A.X", "-A.Y"]),
        ("RENAME TABLE IF EXISTS s.a WAIT 5 TO s.b, s.c NOWAIT TO s.d", "mysql", ["-s.a", "-s.b", "-s.c", "-s.d"]),
        ("ALTER TABLE ONLY s.t * ADD a int", "postgres", ["+s.t"]),
        ("UNDROP TABLE s.t RENAME TO u", "snowflake", ["+S.T", "+S.U"]),
        ("UNDROP TAG s.t; UNDROP TABLE s.t RENAME TO", "snowflake", ["+S.T"]),
        ("SYNC TABLE main.s.t FROM hive_metastore.s.t", "databricks", ["+main.s.t"]),
        (
            "RESTORE DATABASE Sales FROM DISK = 'x'; RESTORE LOG Sales; RESTORE FILELISTONLY FROM DISK = 'x'",
            "tsql",
            ["-Sales.*.*"],
        ),
        ("RESTORE s.t TO VERSION AS OF 3", "databricks", ["-s.t"]),
        (
            "LOAD DATA INTO TEMP TABLE ds.x FROM FILES (a = 1); LOAD DATA INTO TABLE ds.y FROM FILES (a = 1)",
            "bigquery",
            ["+ds.y"],
        ),
        ("CREATE TABLE a.b.c.d (x INT)", "tsql", ["+b.c.d"]),
        (
            "CREATE TABLE [x] (a INT, b AS (a + 1), UNIQUE (a)) ON [PRIMARY] WITH (DATA_COMPRESSION = PAGE)",
            "tsql",
            ["+?.x"],
        ),
        (
            "CREATE DEFINER='a'@'b' VIEW s.v AS SELECT 1; CREATE DEFINER=a@b VIEW s.w AS SELECT 1; CREATE DEFINER=a@`b` VIEW s.u AS SELECT 1",
            "mysql",
            ["+s.v", "+s.w", "+s.u"],
        ),
        (
            "SELECT a INTO 5 FROM x; SELECT a INTO LOCAL TEMPORARY t FROM x; WITH q AS (SELECT 1) DELETE FROM x",
            "postgres",
            [],
        ),
        ("CREATE TABLE my-project.ds.t-1 (a INT64)", "bigquery", ["+my-project.ds.t-1"]),
        ("IMPORT FOREIGN SCHEMA a EXCEPT (b) FROM SERVER s INTO l", "postgres", ["+l.*"]),
        ("CREATE SCHEMA AUTHORIZATION = joe", "databricks", ["+joe.*"]),
        ("ALTER TABLE s.t ALTER COLUMN a SET EXPRESSION AS (b), ALTER c DROP EXPRESSION", "postgres", []),
        (
            "ALTER CATALOG a RENAME TO b; ALTER DATABASE c RENAME TO d",
            "databricks",
            ["-a.*.*", "-b.*.*", "-c.*", "-d.*"],
        ),
        ("ALTER SCHEMA p.a RENAME TO b", "snowflake", ["-P.A.*", "-P.B.*"]),
        ("RENAME USER a TO b; ALTER DATABASE CURRENT SET x = 1", "tsql", []),
        ("ALTER TABLE s.t DROP PARTITION p0, p1, COLUMN c", "mysql", ["-s.t"]),
        ("CREATE PROCEDURE p AS EXTERNAL NAME x.y.z\nGO\nDROP TABLE dbo.t", "tsql", ["-dbo.t"]),
        ("<<here>> BEGIN DROP TABLE s.t; END", "snowflake", ["-S.T"]),
        ("here: LOOP DROP TABLE ds.t; LEAVE here; END LOOP here", "bigquery", ["-ds.t"]),
        ("CASE x WHEN 1 THEN DROP TABLE ds.t; ELSE DROP TABLE ds.u; END CASE", "bigquery", ["-ds.t", "-ds.u"]),
        (
            "IF CASE WHEN 1 THEN 2 END = (SELECT 1) THEN DROP TABLE ds.t; END IF; REPEAT DROP TABLE ds.u; UNTIL TRUE END REPEAT",
            "bigquery",
            ["-ds.t", "-ds.u"],
        ),
        (
            "CREATE SECURITY POLICY p ADD BLOCK PREDICATE f(a) ON dbo.t AFTER INSERT\nDROP TABLE dbo.u",
            "tsql",
            ["-dbo.u"],
        ),
        ("REPLACE VIEW s.v AS SELECT 1; REPLACE INTO s.t VALUES (1)", "mysql", []),
        ("REPLACE TABLE s.t AS SELECT 1", "databricks", ["-s.t"]),
        ("CREATE FUNCTION 5", "postgres", []),
        ("CREATE TABLE ds.t - 1", "bigquery", ["+ds.t"]),
        ("COPY s.t FROM DATABASE x", "duckdb", []),
        ("IF x; WHILE x; BEGIN ISOLATION LEVEL SERIALIZABLE; IF EXISTS x", "postgres", []),
    ],
)
def test_rare_forms(sql: str, dialect: str, expected: list[str]) -> None:
    """Rare forms of statements are read."""
    assert touched(sql, dialect) == expected


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        ("USE IDENTIFIER($x); CREATE TABLE t (a int)", "snowflake", ["+?.T"]),
        ("USE db; CREATE TABLE t (a int)", "snowflake", ["+DB.PUBLIC.T"]),
        ("USE DATABASE db; USE SCHEMA s; CREATE TABLE t (a int)", "redshift", ["+db.s.t"]),
        ("USE CATALOG c; CREATE TABLE t (a int)", "databricks", ["+c.default.t"]),
        ("SET CATALOG 'c'; CREATE TABLE t (a int); SET CATALOG; SET x", "databricks", ["+c.default.t"]),
        ("SET search_path TO DEFAULT; CREATE TABLE t (a int)", "postgres", ["+home.t"]),
        ("SET search_path TO pg_catalog, '', \"$user\"; CREATE TABLE t (a int)", "postgres", ["+?.t"]),
        (
            "SET SESSION search_path TO x; CREATE TABLE t (a int); RESET ALL; CREATE TABLE u (a int); RESET x",
            "postgres",
            ["+x.t", "+home.u"],
        ),
        (
            "SET LOCAL search_path TO x; SET LOCAL search_path TO y; ROLLBACK; CREATE TABLE t (a int)",
            "postgres",
            ["+home.t"],
        ),
        ("SELECT set_config('search_path', 'x', false), 1; CREATE TABLE t (a int)", "postgres", ["+x.t"]),
        ("SELECT set_config('timezone', 'x', false); CREATE TABLE t (a int)", "postgres", ["+home.t"]),
        ('SET enable_case_sensitive_identifier TO off; CREATE TABLE "T" (a int)', "redshift", ["+home.t"]),
        ("SET @@dataset_id = x; CREATE TABLE t (a INT64)", "bigquery", ["+?.t"]),
        (
            "ALTER SESSION SET CURRENT_SCHEMA = x, TIMEZONE = 'UTC'; ALTER SESSION UNSET y; ALTER SESSION SET z; CREATE TABLE t (a int)",
            "snowflake",
            ["+X.T"],
        ),
        ("ALTER SESSION SET CURRENT_SCHEMA = 5 - 5; CREATE TABLE t (a int)", "snowflake", ["+HOME.T"]),
        ("ATTACH 'x.db'; ATTACH 'y.db' AS 'z'; USE s; CREATE TABLE t (a int)", "duckdb", ["+s.t"]),
        ("SET VARIABLE q = 5; SET q += 'a'; CREATE TABLE t (a int)", "duckdb", ["+home.t"]),
        ("CREATE DATABASE d; CREATE TABLE t (a int)", "snowflake", ["+D.*.*", "+D.PUBLIC.T"]),
    ],
)
def test_statements_change_the_current_schema(sql: str, dialect: str, expected: list[str]) -> None:
    """An unqualified name is in the current schema of the session."""
    found = [name.replace("5", "") for name in touched(sql, dialect, default_schema="home")]
    assert found == [name.replace("?.T", "?.T") for name in expected]


@pytest.mark.parametrize(
    "old, new, wider",
    [
        *(("int", "bigint", True), ("bigint", "int", False), ("int", "text", False), ("smallint", "smallint", True)),
        *(("real", "double precision", True), ("double precision", "real", False), ("date", "timestamp", False)),
        *(("varchar(10)", "varchar(20)", True), ("varchar(20)", "varchar(10)", False), ("varchar(10)", "text", True)),
        *(
            ("varchar(10)", "varchar", True),
            ("varchar", "varchar", True),
            ("text", "varchar(10)", False),
            ("char(5)", "varchar(9)", True),
        ),
        *(
            ("varchar(5)", "char(9)", False),
            ("char(5)", "char(9)", True),
            ("nvarchar(5)", "varchar(9)", False),
            ("varchar(5)", "nvarchar(9)", True),
        ),
        *(
            ("numeric(10,2)", "numeric(12,2)", True),
            ("numeric(10,2)", "numeric(10,4)", False),
            ("numeric(10,2)", "numeric(12,4)", True),
        ),
        *(
            ("numeric(10,2)", "numeric", False),
            ("numeric", "numeric", True),
            ("numeric(5)", "numeric(6)", True),
            ("date", "date", True),
        ),
        *(("int", "not a type at all", False), ("varchar(max)", "varchar(10)", False)),
    ],
)
def test_widening(old: str, new: str, *, wider: bool) -> None:
    """A type is wider if it holds every value of the old one and is of the same kind."""
    assert (compare_types(old, new, DIALECTS["postgres"]) is not Effect.DESTRUCTIVE) is wider


def test_the_type_before_is_the_last_known_one() -> None:
    """The type before is the last one that the column got; a renamed or unknown column has none."""
    sql = "CREATE TABLE s.t (a INT, b INT); ALTER TABLE s.t ALTER COLUMN A TYPE BIGINT;"
    assert touched(f"{sql} ALTER TABLE s.t ALTER COLUMN a TYPE INT") == ["+s.t", "+s.t", "-s.t"]
    assert touched(f"{sql} ALTER TABLE s.t ALTER b TYPE BIGINT") == ["+s.t", "+s.t", "+s.t"]
    assert touched(f"{sql} ALTER TABLE s.t RENAME b TO c; ALTER TABLE s.t ALTER a TYPE BIGINT")[-1] == "-s.t"
    assert touched(f"{sql} ALTER TABLE s.t DROP b; ALTER TABLE s.t ALTER a TYPE BIGINT")[-1] == "-s.t"
    assert (
        touched("CREATE TABLE s.t (a INT); ALTER TABLE s.t RENAME TO u; ALTER TABLE s.u ALTER COLUMN a TYPE BIGINT")[-1]
        == "+s.u"
    )
    assert touched("CREATE TABLE s.t (a INT); DROP TABLE s.t; ALTER TABLE s.t ALTER COLUMN a TYPE BIGINT")[-1] == "-s.t"
    assert touched("CREATE TABLE s.t (b INT); ALTER TABLE s.t ALTER COLUMN a TYPE BIGINT")[-1] == "-s.t"
    assert Columns("CREATE TABLE s.t (a", DIALECTS["postgres"]).type_of("a") == ""


def test_dropping_a_function_with_cascade_gives_a_warning() -> None:
    """DROP FUNCTION ... CASCADE may drop views: it is no change, but gives a warning."""
    found = read("DROP FUNCTION s.f() CASCADE;\nDROP TRIGGER t ON s.x CASCADE")
    assert (found.changes, found.not_understood) == ((), ())
    assert len(found.warnings) == 1
    assert "x.sql:1 (DROP FUNCTION s.f() CASCADE)" in found.warnings[0]


def test_reasons_are_joined() -> None:
    """One statement gives one change for each name, with the strongest effect and every reason."""
    (change,) = read("ALTER TABLE s.t ADD a int, DROP b, ADD c int").changes
    assert change.reason == "adds a column; drops a column"
