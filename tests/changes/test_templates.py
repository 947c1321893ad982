"""Templates are refused, with advice; what only looks like one is not."""

import re

import pytest

from orchestrator.changes.errors import TemplatedError
from orchestrator.changes.reader import read_sql
from tests.changes.reading import read, told, touched


@pytest.mark.parametrize(
    "sql, dialect, shown, advice",
    [
        ("SELECT 1;\nCREATE TABLE {{ this }} AS SELECT 1", "snowflake", "{{ this }}", "--dbt-target"),
        ("{% if x %}\nDROP TABLE a;\n{% endif %}", "postgres", "{% if x %}", "--dbt-target"),
        ("{# note #}\nDROP TABLE a;", "postgres", "{# note #}", "--dbt-target"),
        ("INSERT INTO {{ ref('x') }} SELECT 1", "bigquery", "{{ ref('x') }}", "--dbt-target"),
        ("CREATE TABLE ${schema}.t (a int)", "postgres", "${schema}", "--set"),
        ("DELETE FROM ${schema}.t", "mysql", "${schema}", "--set"),
        ("CREATE TABLE `{{ project }}.ds.t` (a INT64)", "bigquery", "{{ project }}", "--dbt-target"),
        ("INSERT INTO ${p}.ds.t VALUES (1)", "bigquery", "${p}", "--set"),
        ("DROP TABLE `{{ a.b }}.ds.t`", "bigquery", "{{ a.b }}", "--dbt-target"),
        ('DROP TABLE "${schema}".t', "postgres", "${schema}", "--set"),
        ("CREATE TABLE [$(Schema)].t (a int)", "tsql", "$(Schema)", "--set"),
        ("CREATE TABLE $(Schema).t (a int)", "tsql", "$(Schema)", "--set"),
        ("CREATE TABLE <% schema %>.t (a int)", "snowflake", "<% schema %>", "--dbt-target"),
        ("CREATE TABLE &{schema}.t (a int)", "snowflake", "&{schema}", "--set"),
        ("EXECUTE IMMEDIATE 'DROP TABLE {{ x }}'", "snowflake", "{{ x }}", "--dbt-target"),
        ("SELECT 1 {{", "postgres", "{{", "--dbt-target"),
    ],
)
def test_templates_are_refused_with_advice(sql: str, dialect: str, shown: str, advice: str) -> None:
    """The message names the placeholder and its line, and says what to do."""
    with pytest.raises(TemplatedError) as refused:
        read(sql, dialect)
    assert shown in str(refused.value)
    assert any(each in str(refused.value) for each in advice.split("|"))
    assert str(refused.value).startswith(f"x.sql:{refused.value.line}: ")
    assert refused.value.line == sql[: sql.index(shown[:2])].count("\n") + 1
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "sql, dialect",
    [
        ("INSERT INTO s.t VALUES ('{{ name }}', '${x}', '{% if %}')", "postgres"),
        ("-- {{ name }} ${x}\n/* {% if %} */ DELETE FROM s.t", "postgres"),
        ("SELECT {'a': 1, 'b': {'c': 2}}", "duckdb"),
        ("SELECT 'x' <% col FROM s.t WHERE a < 5 AND b & 3 = 1", "postgres"),
        ("SELECT { 'a': 1 }, {*}, a:b FROM s.t", "snowflake"),
        ("CREATE FUNCTION f() RETURNS STRING LANGUAGE JAVASCRIPT AS $$ return `${x} {{y}}`; $$", "snowflake"),
        ("UPDATE s.t SET a = $1, b = '{{}}' WHERE c = $2", "postgres"),
        ("INSERT INTO s.t SELECT $1, $2 FROM @stage", "snowflake"),
        ("DELETE FROM s.t WHERE a < 5 AND b & 1 = 1 AND c = $(1)", "tsql"),
        ("SELECT {fn NOW()}, {d '2026-01-01'}", "tsql"),
    ],
)
def test_braces_in_strings_comments_and_literals_are_not_templates(sql: str, dialect: str) -> None:
    """Braces and dollar signs that are part of SQL are read as SQL."""
    assert touched(sql, dialect) == []


@pytest.mark.parametrize(
    "area, dialect",
    [
        *((":area", "postgres"), (':"area"', "postgres"), ("@area", "mysql"), ("@area", "tsql"), ("$area", "postgres")),
        *(("$area$", "tsql"), ("$area$", "postgres"), ("%(area)s", "postgres"), ("{area}", "snowflake")),
        *(
            ("#{area}", "tsql"),
            ("[#{area}]", "tsql"),
            ("%area%", "mysql"),
            ("`%area%`", "mysql"),
            ("&area.", "snowflake"),
        ),
        *(("${area}", "postgres"), ("$(area)", "tsql"), ("{{ area }}", "snowflake"), ("<%= area %>", "postgres")),
        *(("@area@", "tsql"), ('"{area}"', "postgres"), ("&{area}", "snowflake"), ("`${area}`", "bigquery")),
    ],
)
def test_placeholders_are_filled_or_refused(area: str, dialect: str) -> None:
    """A placeholder of any tool is filled from a given value, and refused without one."""
    for sql in (f"CREATE TABLE {area}.t (a int)", f"SELECT 1;\nDROP VIEW {area}.t", f"ALTER TABLE {area}.t ADD a int"):
        (change,) = read_sql(sql, source="x.sql", dialect=dialect, values={"area": "plant"}).changes
        assert str(change.name).lower() == "plant.t"
        with pytest.raises(TemplatedError, match="--set area=VALUE") as refused:
            read(sql, dialect)
        assert refused.value.line == 1 + sql.count("\n")


@pytest.mark.parametrize(
    "sql, dialect, values, expected",
    [
        ("CREATE TABLE pre_{x}_t (a int)", "postgres", {"x": "q"}, "+?.pre_q_t"),
        ("CREATE TABLE %s.t (a int)", "postgres", {"%s": "q"}, "+q.t"),
        ("SET search_path TO :area; CREATE TABLE t (a int)", "postgres", {"area": "q"}, "+q.t"),
        ("CREATE TABLE ${db-name}.t (a int)", "postgres", {"db-name": "q"}, "+q.t"),
        ("CREATE TABLE ${A}.${B} (a int)", "postgres", {"A": "q", "B": "x"}, "+q.x"),
    ],
)
def test_values_fill_any_part_of_a_name(sql: str, dialect: str, values: dict[str, str], expected: str) -> None:
    """A value may be a part of a name, the schema of a session, or replace a placeholder without a name."""
    assert told(read_sql(sql, source="x.sql", dialect=dialect, values=values)) == [expected]
    with pytest.raises(TemplatedError):
        read(sql, dialect)


def test_client_commands_in_the_text_set_variables() -> None:
    """Variables of psql, sqlcmd and SnowSQL are set from their line on; a given value takes precedence."""
    psql = "\\set area plant\nCREATE TABLE :area.t (a int);\n\\set area 'other'\nDROP TABLE :\"area\".t;"
    assert touched(psql) == ["+plant.t", "-other.t"]
    assert told(read_sql(psql, source="x", dialect="postgres", values={"area": "q"})) == ["+q.t", "-q.t"]
    assert touched(':setvar area "plant"\nCREATE TABLE $(Area).t (a int)\nGO', "tsql") == ["+plant.t"]
    assert touched("!define area=plant\nCREATE TABLE &area..t (a int);", "snowflake") == ["+PLANT.T"]
    for early in ("DROP TABLE :area.t;\n\\set area plant\n", "\\set area `date`\nDROP TABLE :area.t;"):
        with pytest.raises(TemplatedError):
            read(early)


@pytest.mark.parametrize(
    "sql, dialect",
    [
        ("ALTER TABLE s.t ADD COLUMN {c} int", "postgres"),
        ("ALTER TABLE s.t ALTER COLUMN {c} SET STATISTICS 5, ADD {d} int", "postgres"),
        ("CREATE TABLE s.t (a int DEFAULT :x, {c} text)", "postgres"),
    ],
)
def test_placeholders_outside_of_changed_names_are_allowed(sql: str, dialect: str) -> None:
    """A placeholder outside of the name of a changed table needs no value."""
    assert touched(sql, dialect) == ["+s.t"]
    assert touched("CREATE INDEX i ON {s}.t (a); INSERT INTO {s}.t VALUES (1); TRUNCATE :t") == []
    assert touched("INSERT INTO `${p}.ds.t` VALUES (1); CREATE VIEW s.v AS SELECT 1 FROM `{{ x }}.t`", "bigquery") == [
        "+s.v"
    ]


@pytest.mark.parametrize(
    "sql, dialect, shown",
    [
        ("SELECT 1; FROB x USING '${key}';", "postgres", ["FROB x USING '${key}'"]),
        ("FROB ${key}\n  y; FROB ${key}${key}", "postgres", ["FROB ${key} y", "FROB ${key}${key}"]),
        ("-- changeset a:1\nSELECT 1;\n-- changeset a:2\nFROB %s;", "postgres", ["FROB %s"]),
        ("DO $$ BEGIN FROB a; FROB b; END $$", "postgres", ["BEGIN FROB a", "FROB b"]),
        ("DO $$ BEGIN NULL; FROB ${key}; END $$", "postgres", ["DO $$ BEGIN NULL; FROB ${key}; END $$"]),
        ("SET @x = '${key}'; PREPARE s FROM CONCAT('FROB ', @x); EXECUTE s", "mysql", ["EXECUTE s"]),
        ("\\set own 'a b'\nFROB :own;", "postgres", ["FROB :own"]),
    ],
)
def test_a_value_is_not_shown(sql: str, dialect: str, shown: list[str]) -> None:
    """A statement that is not understood is shown as the file has it, because the value of a placeholder may be a secret."""
    found = read_sql(sql, source="x.sql", dialect=dialect, values={"key": "s3cret", "%s": "s3cret"})
    assert [each.text for each in found.not_understood] == shown


def test_no_reason_warning_or_error_shows_a_value() -> None:
    """A clause that is not known, a warning's statement and an unfilled placeholder are shown as the file has them."""
    sql = "ALTER TABLE s.t FROB '${key}'; DROP FUNCTION f('${key}') CASCADE;"
    found = read_sql(sql, source="x.sql", dialect="postgres", values={"key": "s3cret"})
    assert len(found.changes) == len(found.warnings) == 1
    assert "s3cret" not in str(found)
    for sql, shown in (("DROP TABLE ${key}_{b}", "{b}"), ("\n;DROP TABLE {{ f('${key}') }}", "{{ f('${key}') }}")):
        with pytest.raises(TemplatedError, match=re.escape(shown)) as refused:
            read_sql(sql, source="x.sql", dialect="postgres", values={"key": "s3cret"})
        assert "s3cret" not in str(refused.value)
