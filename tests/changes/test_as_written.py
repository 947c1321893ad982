"""Migrations as people and tools write them: borders without semicolons, helper functions, what the database takes along."""

from pathlib import Path

import pytest

from orchestrator.changes.files import read_ddl
from tests.changes.reading import read, told, touched, unclear


@pytest.mark.parametrize("dialect", ["postgres", "mysql", "snowflake", "databricks", "bigquery", "duckdb", "redshift"])
@pytest.mark.parametrize(
    "border",
    [
        "--changeset ann:2\n",
        "-- changeset ann:2 labels:x\n",
        "-- +goose StatementEnd\n-- +goose StatementBegin\n",
        "-- +migrate Up\n",
        "-- migrate:up\n",
        "-- COMMAND ----------\n",
        "--bun:split\n",
        "--> statement-breakpoint\n",
        "",
    ],
)
def test_a_border_ends_a_statement(dialect: str, border: str) -> None:
    """A tool's marker, or a DDL verb at the start of a line, ends a statement that has no semicolon."""
    sql = f"CREATE TABLE S.A (x int)\n{border}ALTER TABLE S.B DROP COLUMN y\n{border}DROP VIEW S.C\n"
    assert [name.upper() for name in touched(sql, dialect)] == ["+S.A", "-S.B", "-S.C"]


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        ("INSERT INTO s.t VALUES ('a\nDROP TABLE ghost')\nDROP TABLE s.a", "postgres", ["-s.a"]),
        ("GRANT\n  CREATE TABLE,\n  CREATE VIEW\nON SCHEMA s TO ROLE r\nDROP TABLE s.a", "snowflake", ["-S.A"]),
        (
            "SELECT 1\nDO $$ BEGIN DROP TABLE s.a; END $$\nDO $$ BEGIN DROP TABLE s.b; END $$",
            "postgres",
            ["-s.a", "-s.b"],
        ),
        ("CREATE TABLE s.a (x int)\nSET search_path TO s;\nDROP TABLE b", "postgres", ["+s.a", "-s.b"]),
        ("CREATE TABLE a (x int)\nUSE s\nDROP TABLE b", "mysql", ["+?.a", "-s.b"]),
        ("CREATE TABLE s.a (x int)\nRENAME TABLE s.b TO s.c", "mysql", ["+s.a", "-s.b", "-s.c"]),
        (
            "CREATE FUNCTION f() RETURNS int AS $$ DROP TABLE ghost $$ LANGUAGE sql\nDROP TABLE s.a",
            "postgres",
            ["-s.a"],
        ),
        ("CREATE PROCEDURE p()\nBEGIN\n  DROP TABLE ghost;\nEND\nDROP TABLE s.a", "mysql", ["-s.a"]),
        (
            "CREATE TRIGGER g AFTER INSERT ON s.t FOR EACH ROW\nEXECUTE FUNCTION f()\nDROP TABLE s.a",
            "postgres",
            ["-s.a"],
        ),
    ],
)
def test_a_line_may_begin_a_statement_without_a_semicolon(sql: str, dialect: str, expected: list[str]) -> None:
    """A statement on a new line is read if the statement before it is complete."""
    assert touched(sql, dialect) == expected


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        ("ALTER TABLE s.t\n  ADD a int,\n  DROP type,\n  ALTER COLUMN b TYPE text\n", "postgres", ["-s.t"]),
        ("ALTER TABLE s.t\nDROP TABLE_NAME", "postgres", ["-s.t"]),
        ("ALTER PUBLICATION p\nDROP TABLE s.t", "postgres", []),
        ("ALTER EXTENSION e\nDROP VIEW s.v", "postgres", []),
        ("CREATE SCHEMA s\nCREATE TABLE t (a int)\nCREATE VIEW v AS SELECT 1", "postgres", ["+s.*", "+s.t", "+s.v"]),
        ("CREATE PROCEDURE p()\nDROP TABLE ghost;", "mysql", []),
        ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO\nDROP TABLE ghost", "mysql", []),
        ("CREATE TASK s.t SCHEDULE = '1 minute' AS\nCREATE TABLE ghost (a int)", "snowflake", []),
        ("EXPLAIN\nCREATE TABLE ghost AS SELECT 1", "postgres", []),
    ],
)
def test_a_verb_inside_a_statement_does_not_split_it(sql: str, dialect: str, expected: list[str]) -> None:
    """A DDL verb at the start of a line does not split the statement that it belongs to."""
    assert touched(sql, dialect) == expected


def test_a_heading_is_not_a_marker() -> None:
    """Comments that resemble a tool's marker leave nothing out. A real marker does, with a warning that gives its line."""
    prose = "CREATE TABLE s.a (x int);\n-- Down migration of the old prices is done by the nightly job\nDROP TABLE s.b;"
    assert touched(prose) == ["+s.a", "-s.b"]
    assert touched("-- up\nCREATE TABLE s.a (x int);\n-- down\nDROP TABLE s.b;") == ["+s.a", "-s.b"]
    assert touched("-- migrate:down is not supported here\nDROP TABLE s.b;") == ["-s.b"]
    assert touched("DROP TABLE s.a;\n-- Revert users from backup\nDROP TABLE s.b;") == ["-s.a", "-s.b"]
    found = read("-- migrate:up\nDROP TABLE s.a;\n-- migrate:down\nCREATE TABLE s.a (x int);")
    assert told(found) == ["-s.a"]
    (warning,) = found.warnings
    assert warning.endswith(": x.sql:3")


def test_warnings_are_grouped_by_kind(tmp_path: Path) -> None:
    """Equal warnings of many files become one, with the first places and the number of the others."""
    for number in range(20):
        (tmp_path / f"V{number:02}.sql").write_text("-- migrate:up\nSELECT 1;\n-- migrate:down\nDROP TABLE x;")
    (warning,) = read_ddl([str(tmp_path)], dialect="postgres", stdin=bytes).warnings
    assert warning.count(".sql:3") == 5
    assert warning.endswith("and 15 more")


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("SELECT run_ddl('t', 'ALTER TABLE s.t DROP COLUMN a');", ["-s.t"]),
        ("DO $$ BEGIN PERFORM util.run('CREATE TABLE s.a (x int)'); END $$;", ["+s.a"]),
        ("DO $$ DECLARE r int; BEGIN r := util.run('DROP TABLE s.a'); END $$;", ["-s.a"]),
        ("CALL run_it(1, 'DROP VIEW s.v')", ["-s.v"]),
        ("SELECT pglogical.replicate_ddl_command('CREATE TABLE s.a (x int)', ARRAY['x']);", ["+s.a"]),
        ("SELECT run_ddl(format('ALTER TABLE %I.%I ADD x int', 's', 't'));", ["+s.t"]),
        ("INSERT INTO log SELECT run_ddl('DROP TABLE s.t');", ["-s.t"]),
        (
            "INSERT INTO log (a, b)\nSELECT 'DROP TABLE s.x', f(1, $$ DROP TABLE s.t $$) FROM y; DROP TABLE s.u;",
            ["-s.t", "-s.u"],
        ),
        ("INSERT INTO log VALUES (now(), f(E'\\n DROP TABLE s.t'))", ["-s.t"]),
        ("UPDATE log SET a = f('DROP TABLE s.t')", ["-s.t"]),
        ("DELETE FROM log WHERE f('DROP TABLE s.t')", ["-s.t"]),
        ("MERGE INTO log USING f('DROP TABLE s.t') ON true WHEN MATCHED THEN DELETE", ["-s.t"]),
        ("COPY (SELECT f('DROP TABLE s.t')) TO STDOUT", ["-s.t"]),
        ("VALUES (f('DROP TABLE s.t'))", ["-s.t"]),
        ("EXPLAIN ANALYZE INSERT INTO log SELECT f('DROP TABLE s.t')", ["-s.t"]),
        ("EXPLAIN SELECT f('DROP TABLE s.t')", []),
        ("CREATE TABLE s.q AS SELECT f('DROP TABLE s.t')", ["-s.t", "+s.q"]),
        ("CREATE TABLE s.q AS WITH x AS (SELECT 1) SELECT f('DROP TABLE s.t') FROM x", ["-s.t", "+s.q"]),
        ("CREATE TEMP TABLE q AS SELECT f('DROP TABLE s.t')", ["-s.t"]),
        ("CREATE MATERIALIZED VIEW s.q AS SELECT f('DROP TABLE s.t')", ["-s.t", "+s.q"]),
        ("CREATE VIEW s.q AS SELECT f('DROP TABLE s.t')", ["+s.q"]),
        ("ALTER TABLE s.q ALTER a TYPE int USING f('DROP TABLE s.t')", ["-s.t", "-s.q"]),
        ("PREPARE p AS SELECT f('DROP TABLE s.t')", ["-s.t"]),
        ("PREPARE p(text) AS SELECT f($1); EXECUTE p('DROP TABLE s.t')", ["-s.t"]),
        ("DO $$ BEGIN OPEN c FOR SELECT f('DROP TABLE s.t'); END $$", ["-s.t"]),
        ("WITH q AS (SELECT 1) SELECT f('ALTER TABLE s.t ADD x int') FROM q", ["+s.t"]),
        ("WITH q AS (SELECT f('DROP TABLE s.t')) INSERT INTO log SELECT * FROM q", ["-s.t"]),
        ("SELECT * FROM f('DROP TABLE s.t')", ["-s.t"]),
        ("DO $$ BEGIN IF f('DROP TABLE s.t') THEN RETURN f('DROP TABLE s.u'); END IF; END $$;", ["-s.t", "-s.u"]),
        ("DO $$ BEGIN FOR r IN SELECT f('DROP TABLE s.t') LOOP NULL; END LOOP; END $$;", ["-s.t"]),
        ("INSERT INTO log (a, b) VALUES ('DROP TABLE s.t', now()), ('DROP TABLE s.u', md5('DROP TABLE s.u'))", []),
        ("SELECT replace('DROP TABLE x', 'x', 'y'), upper('drop table s.t'), 1 WHERE a IN ('CREATE TABLE x', 'b')", []),
        ("SELECT note('Create indexes first', 'drop it'), f('ALTER the thing')", []),
        ("SELECT cron.schedule('x', '0 0 * * *', 'DROP TABLE s.t')", []),
    ],
)
def test_functions_that_run_text(sql: str, expected: list[str]) -> None:
    """SQL in a string argument is read, unless the function is built in or the text is not a statement."""
    assert touched(sql) == expected


def test_a_routine_is_read_wherever_it_is_called() -> None:
    """A known routine is read where a statement calls it, and not where a definition or a comment names it."""
    routine = "CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DROP TABLE s.t; RETURN 1; END $$;\n"
    assert touched(routine + "DO $$ DECLARE x int; BEGIN x := f(1); END $$;") == ["-s.t"]
    assert touched(routine + "DO $$ BEGIN IF f(1) > 0 THEN NULL; END IF; END $$;") == ["-s.t"]
    for statement in (
        "INSERT INTO log SELECT s.f(1)",
        "INSERT INTO log VALUES ('f(', 2);\nUPDATE log SET a = f (1) WHERE b = 2",
        'DELETE FROM log WHERE a = "f"(1)',
        "COPY (SELECT f(1)) TO STDOUT",
        "MERGE INTO log USING x ON f(1) = 1 WHEN MATCHED THEN DELETE",
    ):
        assert touched(f"{routine}{statement};") == ["-s.t"]
    assert touched(routine + "CREATE TABLE s.q AS SELECT f(1)") == ["-s.t", "+s.q"]
    assert touched(routine + "INSERT INTO log VALUES ('f(1)')") == []
    assert touched(routine + "COMMENT ON FUNCTION f(int) IS 'DROP TABLE helper'; DROP FUNCTION f(int);") == []


def test_text_for_a_function_of_tsql() -> None:
    """EXEC of an unknown procedure is understood if an argument is SQL."""
    assert touched("EXEC dbo.RunDdl @note = 'x', @sql = N'DROP TABLE dbo.t'", "tsql") == ["-dbo.t"]
    assert unclear("EXEC dbo.RunDdl 'x'", "tsql")


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("SELECT AddGeometryColumn('roads', 'geom', 4326, 'POINT', 2)", ["+?.roads"]),
        ("SELECT public.AddGeometryColumn('gis', 'Roads', 'geom', 4326, 'POINT', 2, false)", ["+gis.Roads"]),
        ("SELECT DropGeometryColumn('db', 'gis', 'roads', 'geom')", ["-db.gis.roads"]),
        ("SELECT DropGeometryTable('gis', 'roads')", ["-gis.roads"]),
        ("SELECT UpdateGeometrySRID('gis', 'roads', 'geom', 3857)", ["+gis.roads"]),
        ("DO $$ BEGIN PERFORM AddGeometryColumn('', 'roads', 'geom', 4326, 'POINT', 2); END $$", ["+?.roads"]),
    ],
)
def test_functions_of_postgis(sql: str, expected: list[str]) -> None:
    """PostGIS' functions that add and drop columns touch the table that they name."""
    assert touched(sql) == expected
    assert unclear("SELECT AddGeometryColumn(t, 'geom', 4326, 'POINT', 2) FROM x")


@pytest.mark.parametrize(
    "verb", ["PUT file:///a/*.csv @loads", "PUT 'file:///a/*.csv' @~/x/*", "GET @loads/a/* file:///b/", "LIST @s/*"]
)
def test_a_path_does_not_open_a_comment(verb: str) -> None:
    """`/*` in a path of a SnowSQL file command does not begin a comment."""
    assert touched(f"{verb};\nDROP TABLE s.a;\n/* note */\nDROP TABLE s.b;", "snowflake") == ["-S.A", "-S.B"]


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("EXEC sp_rename 'dbo.t', 'u'", ["-dbo.t", "-dbo.u"]),
        ("EXEC sp_rename @newname = 'u', @objname = 'dbo.t'", ["-dbo.t", "-dbo.u"]),
        ("EXEC sp_rename 'dbo.t.c', 'd'", ["-dbo.t"]),
        ("EXEC sp_rename '[dbo].[t].[c]', 'd', 'COLUMN'", ["-dbo.t"]),
        ("CREATE TABLE Depots (Phone int)\nEXEC sp_rename 'Depots.Phone', 'Fax'", ["+dbo.Depots", "-dbo.Depots"]),
        ("EXEC sp_rename @objname = N'Depots.Phone', @newname = N'Fax'", ["-dbo.Depots"]),
        ('EXEC sp_rename "Depots.Phone", "Fax"', ["-dbo.Depots"]),
        ("EXEC sp_rename 'plant.Depots.Phone', 'Fax'", ["-plant.Depots"]),
        ("EXEC sp_rename 'Plant.dbo.Depots', 'Stations'", ["-Plant.dbo.Depots", "-Plant.dbo.Stations"]),
        ("EXEC sp_rename 'sales.t', 'u'\nGO\nSELECT * FROM [sales].[v]", ["-sales.t", "-sales.u"]),
        ("CREATE SCHEMA sales\nGO\nEXEC sp_rename 'sales.t', 'u'", ["+sales.*", "-sales.t", "-sales.u"]),
        ("EXEC sp_rename 't.i', 'j', 'INDEX'", []),
    ],
)
def test_sp_rename_without_a_type(sql: str, expected: list[str]) -> None:
    """A name in two parts is a column, unless the text shows that the first part is a schema."""
    assert touched(sql, "tsql", default_schema="dbo") == expected


def test_cascade_lists_known_views() -> None:
    """CASCADE drops the known views over the dropped object, and a warning says that there may be more."""
    views = "CREATE VIEW s.v AS SELECT * FROM s.t JOIN s.u ON true; CREATE MATERIALIZED VIEW s.w AS SELECT a FROM s.v;"
    for dropped in (
        "DROP TABLE s.t CASCADE",
        "ALTER TABLE s.t DROP COLUMN a CASCADE",
        "DROP TABLE IF EXISTS s.t, s.q CASCADE",
    ):
        found = read(f"{views} {dropped}")
        assert set(told(found)) >= {"-s.t", "-s.v", "-s.w"}
        (warning,) = found.warnings
        assert "CASCADE" in warning
        assert dropped in warning
    assert "-s.v" not in told(read(f"{views} DROP TABLE s.t"))
    assert "-s.v" not in told(read(f"{views} DROP TABLE s.other CASCADE"))
    assert "-r.v" in told(read("CREATE VIEW r.v AS SELECT 1 FROM s.t; DROP SCHEMA s CASCADE"))
    assert read("DROP TABLE s.t CASCADE CONSTRAINTS", "snowflake").warnings == ()
    assert read("ALTER TABLE s.t ADD FOREIGN KEY (a) REFERENCES s.u ON DELETE CASCADE").warnings == ()


def test_cascade_lists_views_of_other_files(tmp_path: Path) -> None:
    """CASCADE in one file drops a view that another file creates."""
    (tmp_path / "V1.sql").write_text("CREATE VIEW s.v AS SELECT * FROM s.t;")
    (tmp_path / "V2.sql").write_text("DROP TABLE s.t CASCADE;")
    assert told(read_ddl([str(tmp_path)], dialect="postgres", stdin=bytes)) == ["+s.v", "-s.t", "-s.v"]


def test_unknown_partitions_give_a_warning() -> None:
    """A change of a partitioned table warns that it may have unknown partitions."""
    made = "CREATE TABLE s.p (a int) PARTITION BY RANGE (a);"
    for statement in ("ALTER TABLE s.p DROP COLUMN a", "DROP TABLE s.p"):
        warnings = read(f"{made}\n{statement}").warnings
        assert [warning for warning in warnings if "partitions" in warning and f"x.sql:2 ({statement})" in warning]
    assert read(f"{made}\nALTER TABLE s.q ADD b int").warnings == ()


def test_a_routine_of_an_earlier_file_is_read_where_it_is_called(tmp_path: Path) -> None:
    """The changes of a routine from another file have the line of the call."""
    body = "CREATE FUNCTION s.widen(n text) RETURNS void LANGUAGE plpgsql AS $$\nBEGIN EXECUTE 'ALTER TABLE ' || n || ' ADD a int'; END $$;"
    (tmp_path / "V1.sql").write_text(body + "CREATE FUNCTION s.clean() RETURNS void LANGUAGE sql AS 'DELETE FROM s.t';")
    (tmp_path / "V2.sql").write_text("SELECT s.clean();\n\n\nSELECT s.widen('s.t');\nSELECT s.widen(x) FROM s.list;")
    found = read_ddl([str(tmp_path)], dialect="postgres", stdin=bytes)
    assert [(str(each.name), each.line) for each in found.changes] == [("s.t", 4)]
    assert [each.line for each in found.not_understood] == [5]


@pytest.mark.parametrize(
    "child",
    [
        "CREATE TABLE s.c PARTITION OF s.p FOR VALUES FROM (1) TO (2)",
        "CREATE TABLE s.c (b int) INHERITS (s.p)",
        "ALTER TABLE s.p ATTACH PARTITION s.c DEFAULT",
        "ALTER TABLE s.c INHERIT s.p",
    ],
)
def test_partitions_and_heirs_share_the_effect(child: str) -> None:
    """A change of columns also affects partitions and child tables, except with ONLY."""
    assert told(read(f"{child}; ALTER TABLE s.p RENAME COLUMN a TO b"))[-2:] == ["-s.p", "-s.c"]
    assert told(read(f"{child}; ALTER TABLE s.p ADD a int"))[-2:] == ["+s.p", "+s.c"]
    assert told(read(f"{child}; ALTER TABLE ONLY s.p ADD a int"))[-1] == "+s.p"
    assert told(read(f"{child}; ALTER TABLE s.p RENAME TO q; ALTER TABLE s.q DROP a"))[-2:] == ["-s.q", "-s.c"]
    dropped = told(read(f"{child}; DROP TABLE s.p CASCADE"))
    assert dropped[-2:] == ["-s.p", "-s.c"]


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        ("EXEC(N'ALTER TABLE [dbo].[T] DROP CONSTRAINT [' + @v + ']')", "tsql", ["-dbo.T"]),
        (
            "DECLARE @s nvarchar(max)\nSELECT @s = N'ALTER TABLE dbo.T DROP CONSTRAINT ' + QUOTENAME(n) FROM x\nEXEC sp_executesql @s",
            "tsql",
            ["-dbo.T"],
        ),
        ("DO $$ BEGIN EXECUTE 'ALTER TABLE s.t DROP CONSTRAINT ' || quote_ident(x); END $$", "postgres", ["-s.t"]),
        ("DO $$ BEGIN EXECUTE format('ALTER TABLE s.t ADD a text DEFAULT %L', x); END $$", "postgres", ["+s.t"]),
        ("DO $$ BEGIN EXECUTE format('DROP INDEX IF EXISTS i_%s', x); END $$", "postgres", []),
        ("DO $$ BEGIN EXECUTE format('CREATE INDEX i ON %I (a)', x); END $$", "postgres", []),
        ("DO $$ BEGIN EXECUTE 'CREATE TABLE s.t (a int) PARTITION BY ' || x; END $$", "postgres", ["+s.t"]),
        ("EXECUTE IMMEDIATE 'CREATE TEMP TABLE ' || x || ' (a int)'", "snowflake", []),
    ],
)
def test_the_literal_beginning_of_dynamic_sql_decides(sql: str, dialect: str, expected: list[str]) -> None:
    """SQL built at run time touches the table that its literal beginning names, or nothing if it changes no table."""
    assert touched(sql, dialect) == expected


@pytest.mark.parametrize(
    "sql, dialect",
    [
        ("EXEC('DROP TABLE dbo.a' + @x)", "tsql"),
        ("DO $$ BEGIN EXECUTE format('ALTER TABLE %I ADD a int', x); END $$", "postgres"),
        ("DO $$ BEGIN EXECUTE 'ALTER TABLE s.t RENAME TO ' || x; END $$", "postgres"),
        ("DO $$ BEGIN EXECUTE 'DROP TABLE s.t, ' || x; END $$", "postgres"),
        ("DO $$ BEGIN EXECUTE x || ' TABLE s.t'; END $$", "postgres"),
        ("DO $$ BEGIN EXECUTE 'SELECT 1; ' || x; END $$", "postgres"),
    ],
)
def test_dynamic_sql_with_an_unknown_beginning_is_not_understood(sql: str, dialect: str) -> None:
    """SQL is not understood if its verb, kind or name is built at run time."""
    assert unclear(sql, dialect)


def test_literal_arguments_replace_parameters() -> None:
    """Parameters have the values of the call. A call that cannot be read is listed once, at its own line."""
    routine = (
        "DELIMITER //\nCREATE PROCEDURE add_note(IN tab varchar(64))\nBEGIN\n"
        "  SET @q = CONCAT('ALTER TABLE ', tab, ' ADD COLUMN note int');\n  PREPARE s FROM @q; EXECUTE s;\n"
        "  PREPARE s FROM @other; EXECUTE s;\nEND //\nDELIMITER ;\n"
    )
    known = routine.replace("  PREPARE s FROM @other; EXECUTE s;\n", "")
    assert touched(known + "CALL add_note('a'); CALL add_note('s.b');", "mysql") == ["+?.a", "+s.b"]
    assert unclear(routine + "CALL add_note('a');\nCALL add_note('b');", "mysql") == [
        (9, "CALL add_note('a')"),
        (10, "CALL add_note('b')"),
    ]
    function = "CREATE FUNCTION f(t text) RETURNS void AS $$ BEGIN EXECUTE 'DROP TABLE ' || t; END $$ LANGUAGE plpgsql;"
    assert touched(function + "SELECT f('s.a'), f(t => 's.b')") == ["-s.a", "-s.b"]
    procedure = (
        "CREATE PROCEDURE p @t sysname AS BEGIN EXEC('DROP TABLE ' + @t) END\nGO\nEXEC p 'dbo.a'\nEXEC p @t = 'dbo.b'"
    )
    assert touched(procedure, "tsql") == ["-dbo.a", "-dbo.b"]


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        (
            "CREATE FUNCTION d.f(a STRING) AS (CASE a WHEN 'x' THEN IF(a = 'y', 'p', 'q') ELSE IF(a = 'z', 1, 2) END);\nDROP TABLE d.t",
            "bigquery",
            ["-d.t"],
        ),
        (
            "CREATE FUNCTION f() RETURNS int RETURN CASE WHEN 1 THEN REPEAT('a', 2) ELSE IF(1, 2, 3) END; DROP TABLE s.t;",
            "mysql",
            ["-s.t"],
        ),
        (
            "CREATE PROCEDURE p() BEGIN IF (a > 1) THEN SELECT 1; ELSE IF (b) THEN SELECT 2; END IF; END IF; END; DROP TABLE s.t;",
            "mysql",
            ["-s.t"],
        ),
        ("IF @@ERROR <> 0 GOTO done;\nALTER TABLE dbo.t ADD a int;\ndone:\nPRINT 'x'", "tsql", ["+dbo.t"]),
        ("EXEC msdb.dbo.sp_purge_jobhistory @job = 'x'; EXEC msdb.dbo.mine", "tsql", []),
        (
            "CREATE WIDGET TEXT area DEFAULT 'x'; REMOVE WIDGET area; CREATE EXTERNAL LOCATION l URL 's3://x'",
            "databricks",
            [],
        ),
        ("APPLY CHANGES INTO live.t FROM stream(live.s) KEYS (id) SEQUENCE BY ts", "databricks", []),
        ("BEGIN NAME t1; DROP TABLE s.t; COMMIT", "snowflake", ["-S.T"]),
        ("CREATE OR ALTER VERSIONED SCHEMA s", "snowflake", ["-S.*"]),
        ("CALL refresh_continuous_aggregate('x', NULL, NULL)", "postgres", []),
        ("CREATE OR ALTER PROCEDURE dbo.P AS SELECT 1;\nGO\nEXEC sp_refreshsqlmodule N'[dbo].[P]'", "tsql", []),
        (
            "ALTER EXTERNAL TABLE s.t DROP PARTITION LOCATION 'a/b'; ALTER EXTERNAL TABLE s.t ADD PARTITION (d = '1') LOCATION 'x'",
            "snowflake",
            [],
        ),
        (
            "CREATE TABLE s.t (a varchar(20), b int(11)); ALTER TABLE s.t MODIFY a VARCHAR(20) NOT NULL, MODIFY b INT",
            "mysql",
            ["+s.t"],
        ),
        (
            "CREATE TABLE s.t (a int); ALTER TABLE s.t ADD b int; ALTER TABLE s.t CHANGE b c int; ALTER TABLE s.t MODIFY c int",
            "mysql",
            ["+s.t", "+s.t", "-s.t"],
        ),
        ("ALTER TABLE s.t ALTER a SET DEFAULT 1, ALTER a SET NOT NULL, ALTER b DROP NOT NULL", "postgres", []),
    ],
)
def test_harmless_statements_are_understood(sql: str, dialect: str, expected: list[str]) -> None:
    """Statements that change no table are understood, and the statements after them are read."""
    assert touched(sql, dialect) == expected


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        ("ALTER TABLE s.t ADD PRIMARY KEY (a)", "postgres", ["+s.t"]),
        ("ALTER TABLE s.t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES s.u (b)", "postgres", ["+s.u", "+s.t"]),
        ("ALTER TABLE s.t ADD COLUMN a int REFERENCES s.u", "postgres", ["+s.u", "+s.t"]),
        ("CREATE TABLE s.t (a int REFERENCES s.u (b))", "postgres", ["+s.t", "+s.u"]),
        ("ALTER TABLE s.t DROP CONSTRAINT f", "postgres", ["+s.t"]),
        ("ALTER TABLE s.t DROP FOREIGN KEY f, DROP PRIMARY KEY", "mysql", ["+s.t"]),
        ("ALTER TABLE s.t ADD UNIQUE INDEX u (a)", "mysql", ["+s.t"]),
        ("ALTER TABLE s.t ADD CONSTRAINT c CHECK (a > 0), ADD INDEX i (a)", "mysql", []),
        ("ALTER TABLE dbo.t ADD CONSTRAINT d DEFAULT 1 FOR a", "tsql", []),
        ("CREATE UNIQUE INDEX i ON s.t (a)", "postgres", []),
        ("CREATE TEMP TABLE t (a int); ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES s.u", "postgres", []),
    ],
)
def test_keys_are_additive(sql: str, dialect: str, expected: list[str]) -> None:
    """Primary keys, foreign keys and unique constraints are additive for their table and for the one referred to."""
    assert touched(sql, dialect) == expected


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        (
            "MERGE WITH SCHEMA EVOLUTION INTO m.s.t t USING m.s.u u ON t.a = u.a WHEN MATCHED THEN UPDATE SET *",
            "databricks",
            ["+m.s.t"],
        ),
        ("INSERT WITH SCHEMA EVOLUTION INTO s.t SELECT * FROM s.u", "databricks", ["+s.t"]),
        ("COPY INTO s.t FROM '/x' FILEFORMAT = PARQUET COPY_OPTIONS ('mergeSchema' = 'true')", "databricks", ["+s.t"]),
        (
            "SET spark.databricks.delta.schema.autoMerge.enabled = true; INSERT INTO s.t SELECT 1",
            "databricks",
            ["+s.t"],
        ),
        ("COPY INTO s.t FROM @x MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE", "snowflake", ["+S.T"]),
        (
            "COPY INTO s.t FROM @x; INSERT INTO s.t SELECT 1; MERGE INTO s.t USING s.u ON 1 WHEN MATCHED THEN DELETE",
            "snowflake",
            [],
        ),
    ],
)
def test_data_statements_that_add_columns(sql: str, dialect: str, expected: list[str]) -> None:
    """Data statements that may add columns to their table are additive; the others are no changes."""
    assert touched(sql, dialect) == expected


@pytest.mark.parametrize(
    "sql, dialect, expected",
    [
        (
            "CREATE TABLE s.a (x int)\nSELECT AddGeometryColumn('s', 'b', 'g', 4326, 'POINT', 2)",
            "postgres",
            ["+s.a", "+s.b"],
        ),
        ("INSERT INTO s.a VALUES (1)\nSELECT public.DropGeometryColumn('s', 'b', 'g')", "postgres", ["-s.b"]),
        ("ALTER TABLE s.a ADD b int\nSELECT run_ddl('DROP TABLE s.b')", "postgres", ["+s.a", "-s.b"]),
        ("CREATE TABLE s.a (x int)\nCALL run_ddl('DROP TABLE s.b')", "mysql", ["+s.a", "-s.b"]),
        ("CREATE VIEW s.v AS\nSELECT run_ddl('DROP TABLE s.b')", "postgres", ["+s.v"]),
        ("EXPLAIN (COSTS OFF)\nSELECT run_ddl('DROP TABLE s.b')", "postgres", []),
    ],
)
def test_a_call_that_begins_a_line_begins_a_statement(sql: str, dialect: str, expected: list[str]) -> None:
    """SELECT and CALL of a function are read even if the statement before has no semicolon."""
    assert touched(sql, dialect) == expected


def test_dropped_objects_are_forgotten() -> None:
    """A table with the name of a dropped one has none of its partitions and views."""
    made = "CREATE TABLE s.t (a int) PARTITION BY LIST (a); CREATE TABLE s.p PARTITION OF s.t DEFAULT;"
    viewed = "CREATE VIEW s.v AS SELECT * FROM s.t;"
    again = "CREATE TABLE s.t (a int); DROP TABLE s.t CASCADE;"
    assert touched(made + viewed + "DROP TABLE s.t CASCADE;") == ["+s.t", "+s.p", "+s.v", "-s.t", "-s.p", "-s.v"]
    assert touched(made + viewed + "DROP TABLE s.t CASCADE;" + again)[6:] == ["+s.t", "-s.t"]
    assert touched(made + "DROP TABLE s.p;" + "ALTER TABLE s.t ADD b int;")[3:] == ["+s.t"]
    detached = "ALTER TABLE s.t DETACH PARTITION s.p; ALTER TABLE s.t ADD b int;"
    assert touched(made + detached)[-1:] == ["+s.t"]
    assert touched(made + "DROP SCHEMA s CASCADE; CREATE TABLE s.t (a int); DROP TABLE s.t;")[-2:] == ["+s.t", "-s.t"]


def test_a_renamed_table_keeps_its_partitions() -> None:
    """A renamed table keeps its partitions, even if another table of its new name was dropped before."""
    made = "CREATE TABLE s.n (a int) PARTITION BY LIST (a); CREATE TABLE s.p PARTITION OF s.n DEFAULT; DROP TABLE s.t;"
    found = read(made + "ALTER TABLE s.n RENAME TO t; ALTER TABLE s.t ADD b int;")
    assert told(found)[-2:] == ["+s.t", "+s.p"]
    assert any("partitioned" in each for each in found.warnings)


def test_alter_index_renames_a_table() -> None:
    """PostgreSQL accepts ALTER INDEX ... RENAME for a table."""
    assert touched("CREATE TABLE s.t (a int); ALTER INDEX s.t RENAME TO u;") == ["+s.t", "-s.t", "-s.u"]
    assert touched("CREATE TABLE s.t (a int); ALTER INDEX s.i RENAME TO u; ALTER SEQUENCE s.t CYCLE;") == ["+s.t"]


@pytest.mark.parametrize("name", ["{{a,bc},{def,hijk}}", "{{1,2}}", "{1}", "{{a, b}}"])
def test_an_array_is_not_a_placeholder(name: str) -> None:
    """Braces around a list are the text of an array, even inside a quoted name."""
    assert touched(f'SELECT x AS "{name}"; DROP TABLE s.t;') == ["-s.t"]


@pytest.mark.parametrize(
    "sql, dialect",
    [
        (
            "CREATE PROCEDURE p() BEGIN SET @s = '';"
            + "SET @s = CONCAT(@s, 'DROP TABLE s.t;'); PREPARE q FROM @s; EXECUTE q;" * 300,
            "mysql",
        ),
        ("CREATE PROCEDURE p AS\nSET @s = ''\n" + "SET @s = @s + 'DROP TABLE s.t'\nEXEC(@s)\n" * 300, "tsql"),
    ],
)
def test_growing_sql_is_read_up_to_a_limit(sql: str, dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that grows with each run is read up to the limit; the rest is not understood."""
    monkeypatch.setattr("orchestrator.changes.reader.MAX_RUN", 1000)
    end = {"mysql": " END; CALL p();", "tsql": "GO\nEXEC p"}[dialect]
    found = read(sql + end, dialect)
    assert len(found.changes) < 3000
    assert "more than is read" in found.not_understood[0].reason


def test_a_routine_is_read_once_for_the_same_arguments() -> None:
    """A routine is read once for each combination of arguments."""
    body = "EXECUTE format('DROP TABLE s.%s', a);" + "v := 1;" * 10_000
    define = f"CREATE FUNCTION f(a text) RETURNS void AS $$ BEGIN {body} END $$ LANGUAGE plpgsql;"
    found = read(define + "\nSELECT f('t');" * 500 + "\nSELECT f('u');")
    assert not found.not_understood
    assert [(str(each.name), each.line) for each in found.changes[-2:]] == [("s.t", 501), ("s.u", 502)]
