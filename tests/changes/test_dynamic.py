"""SQL in strings and variables: what can be known of it, and what cannot."""

import pytest

from tests.changes.reading import read, told, touched, unclear


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        ("DECLARE @s NVARCHAR(99) = N'DROP ' + N'TABLE ' + QUOTENAME('dbo') + '.t'; EXEC (@s)", "tsql", ["-dbo.t"]),
        (
            "DECLARE @s VARCHAR(99); SELECT @s = 'DROP TABLE dbo.t'; EXEC sp_executesql @stmt = @s, @params = N''",
            "tsql",
            ["-dbo.t"],
        ),
        ("DECLARE @s VARCHAR(99) = 'DROP TABLE '; SET @s += 'dbo.t'; EXECUTE(@s)", "tsql", ["-dbo.t"]),
        (
            "DECLARE @s VARCHAR(99) = CASE WHEN 1 = 1 THEN 'DROP TABLE dbo.a' ELSE 'DROP VIEW dbo.b' END; EXEC(@s)",
            "tsql",
            ["-dbo.a", "-dbo.b"],
        ),
        (
            "DECLARE @s VARCHAR(99) = IIF(1 = 1, 'DROP TABLE dbo.a', 'SELECT 1') + CHAR(10); EXEC(@s)",
            "tsql",
            ["-dbo.a"],
        ),
        ("DECLARE @r INT; EXEC @r = sp_rename 'dbo.a', 'b'", "tsql", ["-dbo.a", "-dbo.b"]),
        ("SET @s := (SELECT 'DROP TABLE d.t' FROM dual), @x = 1; PREPARE p FROM @s; EXECUTE p", "mysql", ["-d.t"]),
        ("SELECT IF(1, 'DROP TABLE d.t', 'DO 0') INTO @s; PREPARE p FROM @s; EXECUTE p", "mysql", ["-d.t"]),
        ("SELECT @s := 'DROP TABLE d.t'; PREPARE p FROM @s; EXECUTE p USING @a", "mysql", ["-d.t"]),
        ("SET @s = COALESCE('DROP TABLE d.t', 'SELECT 1'); PREPARE p FROM @s; EXECUTE p", "mysql", ["-d.t"]),
        ("DO $$ BEGIN EXECUTE 'CREATE TABLE ' || quote_ident('A') || ' (x int)'; END $$", "postgres", ["+?.A"]),
        (
            "DO $$ BEGIN EXECUTE format('DROP TABLE %2$I.%1$s -- %% %L', 't', 's', 'it''s'); END $$",
            "postgres",
            ["-s.t"],
        ),
        (
            "DO $$ DECLARE q text := 'DROP TABLE s.t'; BEGIN q := q || ' CASCADE'; EXECUTE q INTO STRICT r USING 1; END $$",
            "postgres",
            ["-s.t"],
        ),
        ("DO $$ BEGIN EXECUTE trim(' DROP TABLE s.t '); END $$", "postgres", ["-s.t"]),
        ("DO $x$ BEGIN DO $y$ BEGIN DROP TABLE s.t; END $y$; END $x$", "postgres", ["-s.t"]),
        ("SET v = 'DROP TABLE s.t'; EXECUTE IMMEDIATE $v", "snowflake", ["-S.T"]),
        ("BEGIN LET v := 'DROP TABLE s.t'; EXECUTE IMMEDIATE (:v); END", "snowflake", ["-S.T"]),
        ("DECLARE v VARCHAR DEFAULT 'DROP TABLE s.t'; BEGIN EXECUTE IMMEDIATE v; END", "snowflake", ["-S.T"]),
        ("EXECUTE IMMEDIATE 'CREATE TABLE s.' 't (a int)'", "snowflake", ["+S.T"]),
        ("EXECUTE IMMEDIATE FORMAT('''DROP TABLE %s.%s''', 'ds', \"t\") USING 1", "bigquery", ["-ds.t"]),
        ("DECLARE OR REPLACE VARIABLE q STRING DEFAULT 'DROP TABLE s.t'; EXECUTE IMMEDIATE q", "databricks", ["-s.t"]),
    ],
)
def test_literals_and_variables_are_concatenated(sql: str, dialect: str, expected: list[str]) -> None:
    """SQL is read through variables, concatenation, and all branches of a condition."""
    assert touched(sql, dialect) == expected


@pytest.mark.parametrize(
    "sql, dialect",
    [
        ("EXEC('DROP TABLE ' + @t)", "tsql"),
        ("EXEC(@nowhere)", "tsql"),
        ("EXEC sp_executesql @nowhere", "tsql"),
        ("EXEC dbo.mine", "tsql"),
        ("EXEC @p", "tsql"),
        ("EXEC sp_rename @a, @b", "tsql"),
        ("EXEC sp_rename 'c', 'd', 'COLUMN'", "tsql"),
        ("EXEC sp_renamedb @a, 'b'", "tsql"),
        ("EXEC sp_changeobjectowner @a, 'b'", "tsql"),
        ("EXEC sp_refreshview @v", "tsql"),
        ("EXEC sp_MSforeachtable 'DROP TABLE ?'", "tsql"),
        ("PREPARE p FROM @s; EXECUTE p", "mysql"),
        ("EXECUTE never_prepared", "mysql"),
        ("SET @s = UPPER('drop table a'); PREPARE p FROM @s; EXECUTE p", "mysql"),
        ("SET @s = IF(1, 'SELECT 1', CONCAT('DROP TABLE ', x)); PREPARE p FROM @s; EXECUTE p", "mysql"),
        ("EXECUTE IMMEDIATE 'CREATE TABLE ' || x || ' (a int)'", "snowflake"),
        ("EXECUTE IMMEDIATE 'CREATE TABLE s.t' || CASE END", "snowflake"),
        ("EXECUTE IMMEDIATE", "snowflake"),
        ("EXECUTE IMMEDIATE 'CREATE' || x", "snowflake"),
        ("EXECUTE IMMEDIATE 'DROP SOMETHING ' || x", "snowflake"),
        ("EXECUTE IMMEDIATE 'a' 5", "snowflake"),
        ("DO $$ BEGIN EXECUTE format('DROP TABLE %s', t); END $$", "postgres"),
        ("DO $$ BEGIN EXECUTE format('DROP TABLE %s %s', 'a'); END $$", "postgres"),
        ("DO $$ import os $$ LANGUAGE plpython3u", "postgres"),
        ("DO LANGUAGE plv8 $$ plv8.execute('DROP TABLE x') $$", "postgres"),
        ("DO something", "postgres"),
        ("CALL s.p()", "postgres"),
        ("CALL 5", "postgres"),
        ("CALL s.p()", "redshift"),
    ],
)
def test_sql_built_at_run_time_is_not_understood(sql: str, dialect: str) -> None:
    """SQL that is built at run time or is not in the text is listed as not understood."""
    assert unclear(sql, dialect)


@pytest.mark.parametrize(
    "sql, dialect",
    [
        ("EXECUTE IMMEDIATE 'GRANT SELECT ON ' || t || ' TO ROLE r'", "snowflake"),
        ("EXECUTE IMMEDIATE 'CREATE OR REPLACE TEMP TABLE ' || t || ' (a int)'", "snowflake"),
        ("EXECUTE IMMEDIATE 'SELECT COUNT(*) FROM ' || t", "snowflake"),
        ("EXEC('ALTER INDEX ALL ON ' + @t + ' REBUILD')", "tsql"),
        ("EXEC('DROP PROCEDURE ' + @p)", "tsql"),
        (
            "EXEC sp_help 'x'; EXEC sys.sp_updatestats; EXEC msdb.dbo.sp_add_job @x = 1; EXEC xp_cmdshell 'dir'; sp_who2",
            "tsql",
        ),
        ("CALL sys.diagnostics(1); DO SLEEP(5)", "mysql"),
        ("CALL SYSTEM$WAIT(5)", "snowflake"),
        ("CALL BQ.JOBS.CANCEL('x')", "bigquery"),
    ],
)
def test_harmless_dynamic_sql_is_understood(sql: str, dialect: str) -> None:
    """Rights, indexes, queries and system procedures touch nothing, even if a part of them is unknown."""
    assert touched(sql, dialect) == []


def test_system_procedures_that_change_tables() -> None:
    """sp_changeobjectowner moves a table, sp_refreshview updates a view's columns, sp_rename can rename a database."""
    assert touched("EXEC sp_changeobjectowner 'dbo.t', 'joe'", "tsql") == ["-dbo.t", "-joe.t"]
    assert touched("EXEC sp_refreshview N'dbo.v'", "tsql") == ["-dbo.v"]
    assert touched("EXEC sp_rename 'a', 'b', 'DATABASE'", "tsql") == ["-a.*.*", "-b.*.*"]


def test_routines_run_where_they_are_called() -> None:
    """A body is read when its routine is called, recursion included."""
    sql = "CREATE PROCEDURE p() BEGIN DROP TABLE d.t; CALL p(); END; CREATE PROCEDURE q() CALL p(); CALL q();"
    assert touched(sql, "mysql") == ["-d.t"]
    assert touched("CREATE FUNCTION f() RETURNS void AS 'DROP TABLE s.t' LANGUAGE sql; SELECT 1, f()") == ["-s.t"]
    assert touched(
        "CREATE FUNCTION f() RETURNS void AS 'DROP TABLE s.t' LANGUAGE sql; DO $$ BEGIN PERFORM f(); END $$"
    ) == ["-s.t"]
    assert touched("CREATE FUNCTION f() RETURNS int RETURN 1; SELECT f()") == []


def test_nesting_is_limited() -> None:
    """Nested SQL is read up to a depth; deeper SQL is not understood."""
    sql = "DROP TABLE s.t"
    for _ in range(20):
        sql = "EXECUTE IMMEDIATE '" + sql.replace("\\", "\\\\").replace("'", "\\'") + "'"
        if len(sql) > 100_000:
            break
    found = read(sql, "snowflake")
    assert found.not_understood or told(found) == ["-S.T"]
    sql = "DROP TABLE s.t"
    for depth in range(20):
        sql = f"DO $x{depth}$ BEGIN {sql}; END $x{depth}$"
    assert "too deep" in read(sql).not_understood[0].reason


def test_expressions_with_too_many_values_are_unknown() -> None:
    """An expression with too many possible values, or nested too deeply, is unknown."""
    many = " || ".join("CASE WHEN 1 THEN 'a' ELSE 'b' END" for _ in range(6))
    assert unclear(f"EXECUTE IMMEDIATE {many}", "snowflake")
    many = ", ".join("IF(1, 'a', 'b')" for _ in range(6))
    assert unclear(f"EXECUTE IMMEDIATE CONCAT({many})", "snowflake")
    assert unclear("EXECUTE IMMEDIATE " + "(" * 40 + "'DROP TABLE s.t'" + ")" * 40, "snowflake")
