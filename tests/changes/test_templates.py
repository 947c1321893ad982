"""Templates are refused, with advice; what only looks like one is not."""

import pytest

from orchestrator.changes.errors import TemplatedError
from tests.changes.reading import read, touched


@pytest.mark.parametrize(
    "sql, dialect, shown, advice",
    [
        ("SELECT 1;\nCREATE TABLE {{ this }} AS SELECT 1", "snowflake", "{{ this }}", "--dbt-target"),
        ("{% if x %}\nDROP TABLE a;\n{% endif %}", "postgres", "{% if x %}", "--dbt-target"),
        ("{# note #}\nDROP TABLE a;", "postgres", "{# note #}", "--dbt-target"),
        ("INSERT INTO {{ ref('x') }} SELECT 1", "bigquery", "{{ ref('x') }}", "--dbt-target"),
        ("CREATE TABLE ${schema}.t (a int)", "postgres", "${schema}", "in its place"),
        ("DELETE FROM ${schema}.t", "mysql", "${schema}", "in its place"),
        ("CREATE TABLE `{{ project }}.ds.t` (a INT64)", "bigquery", "{{ project }}", "--dbt-target"),
        ("INSERT INTO `${p}.ds.t` VALUES (1)", "bigquery", "${p}", "in its place"),
        ('DROP TABLE "${schema}".t', "postgres", "${schema}", "in its place"),
        ("CREATE TABLE [$(Schema)].t (a int)", "tsql", "$(Schema)", "--dbt-target|in its place"),
        ("CREATE TABLE $(Schema).t (a int)", "tsql", "$(Schema)", "in its place"),
        ("CREATE TABLE <% schema %>.t (a int)", "snowflake", "<% schema %>", "--dbt-target"),
        ("CREATE TABLE &{schema}.t (a int)", "snowflake", "&{schema}", "in its place"),
        ("EXECUTE IMMEDIATE 'DROP TABLE {{ x }}'", "snowflake", "{{ x }}", "--dbt-target"),
        ("SELECT 1 {{", "postgres", "{{", "--dbt-target"),
    ],
)
def test_templates_are_refused_with_advice(sql: str, dialect: str, shown: str, advice: str) -> None:
    """The message names the placeholder, its line, and what to give instead; no table is ever called by a placeholder."""
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
def test_braces_in_strings_comments_and_literals_are_no_template(sql: str, dialect: str) -> None:
    """Braces and dollars where SQL itself has them are read as SQL."""
    assert touched(sql, dialect) == []
