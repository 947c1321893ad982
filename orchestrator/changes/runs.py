"""SQL that runs at once, whatever it is wrapped in: DO, EXECUTE, EXEC, PREPARE, CALL."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from orchestrator.changes.creates import is_sql
from orchestrator.changes.cursor import Cursor
from orchestrator.changes.kinds import TEMPORARY, Level, take_kind
from orchestrator.changes.lexer import Kind, Lexer, Token
from orchestrator.changes.literals import MARK, literal_sql, remember_all
from orchestrator.changes.names import read_name
from orchestrator.changes.procedures import system_procedure
from orchestrator.changes.reading import Reading
from orchestrator.changes.verbs import HARMLESS

_NOT_SQL: Final = frozenset({"TASK", "ALERT", "AS", "SERVICE", "JOB", "NOTEBOOK", "STREAMLIT", "PROJECT"})
_OTHERS_PROCEDURES: Final = frozenset(
    {"bq", "sys", "mysql", "system", "information_schema", "aws_commons", "snowflake"}
)
"""Schemas of the vendors' own procedures: they change no table of ours."""


def do_block(reading: Reading, cursor: Cursor, *, in_body: bool) -> bool:
    """Reads what follows DO: a block of PostgreSQL, or an expression of MySQL."""
    language = cursor.next().text.lower() if cursor.take("LANGUAGE") else ""
    code = cursor.peek()
    if code.kind is not Kind.STRING:
        return in_body or reading.dialect.name == "mysql"
    cursor.next()
    if cursor.take("LANGUAGE"):
        language = cursor.next().text.lower()
    if language not in {"", "plpgsql", "sql"}:
        return False
    reading.run_text(code.text, reading.lexer.line(code.body), True)
    return True


def execute(reading: Reading, cursor: Cursor, *, in_body: bool) -> bool:
    """Reads what follows EXECUTE or EXEC."""
    if cursor.word in _NOT_SQL and cursor.peek(1).kind is not Kind.END:
        return True
    if cursor.take("IMMEDIATE"):
        return cursor.word != "FROM" and _run_expression(reading, cursor)
    if reading.dialect.batches:
        return _exec(reading, cursor)
    if in_body:
        return _run_expression(reading, cursor)
    name = cursor.next()
    ways = reading.session.prepared.get(name.text.lower(), () if reading.dialect.select_into else None)
    return ways is not None and _run_ways(reading, ways, reading.line)


def _run_expression(reading: Reading, cursor: Cursor) -> bool:
    end = cursor.find("USING", "INTO", "LOOP")
    tokens = cursor.rest()[:end] if end >= 0 else cursor.rest()
    line = reading.lexer.line(tokens[0].body or tokens[0].start) if tokens else reading.line
    return _run_ways(reading, literal_sql(tokens, reading.session), line)


def _run_ways(reading: Reading, ways: tuple[str, ...], line: int) -> bool:
    """Reads each text that may run; one that is known in part must at least begin with what changes nothing."""
    for way in ways:
        if MARK not in way:
            reading.run_text(way, line, False)
        elif not _is_harmless(reading, way.partition(MARK)[0]):
            reading.widen("runs SQL that is put together when it runs")
    return True


def _is_harmless(reading: Reading, head: str) -> bool:
    """Whether SQL that begins so changes nothing, however it goes on."""
    lexer = Lexer(head, reading.dialect, source=reading.source)
    tokens: list[Token] = []
    while len(tokens) < 12 and (token := lexer.next()).kind is not Kind.END:
        tokens.append(token)
    cursor = Cursor(tokens)
    if cursor.word in HARMLESS or cursor.word in {"SELECT", "WITH"}:
        return True
    verb = cursor.next().upper
    if verb not in {"CREATE", "ALTER", "DROP"} or head.rstrip() == head:
        return False
    cursor.take("OR", "REPLACE")
    taken = take_kind(cursor)
    if taken is None:
        return False
    level, _, adjectives = taken
    return level in {Level.NOTHING, Level.ROUTINE} or (verb == "CREATE" and bool(adjectives & TEMPORARY))


def _exec(reading: Reading, cursor: Cursor) -> bool:
    """Reads what follows EXEC in T-SQL: a string in parentheses, or a procedure."""
    if cursor.word == "(":
        begin = cursor.at
        cursor.skip_parens()
        # With QUOTED_IDENTIFIER off a string may stand in double quotes; a name cannot stand here.
        inside = [
            token._replace(kind=Kind.STRING) if token.quote == '"' else token
            for token in cursor.tokens[begin + 1 : cursor.at - 1]
        ]
        line = reading.lexer.line(inside[0].body or inside[0].start) if inside else reading.line
        with reading.session.apart():
            return _run_ways(reading, literal_sql(inside, reading.session), line)
    if cursor.peek().kind is Kind.VARIABLE and cursor.peek(1).upper == "=":
        cursor.at += 2
    return procedure(reading, cursor)


def procedure(reading: Reading, cursor: Cursor) -> bool:
    """Reads a procedure's name and arguments: the known ones of the system, and those that this text defines."""
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return False
    name = parts[-1].text.lower()
    with reading.session.apart():
        if len(parts) > 2 and parts[-3].text:  # another database's: it works there
            reading.session.move(reading.session.stored(parts[-3]), None)
        known = _executesql(reading, cursor) if name == "sp_executesql" else system_procedure(reading, parts, cursor)
    if known is not None:
        return known
    return run_routine(reading, reading.session.stored(parts[-1]).lower())


def _executesql(reading: Reading, cursor: Cursor) -> bool:
    if cursor.peek().kind is Kind.VARIABLE and cursor.peek(1).upper == "=":
        cursor.at += 2
    end = cursor.find(",")
    tokens = cursor.rest()[:end] if end >= 0 else cursor.rest()
    line = reading.lexer.line(tokens[0].body or tokens[0].start) if tokens else reading.line
    return _run_ways(reading, literal_sql(tokens, reading.session), line)


def run_routine(reading: Reading, name: str) -> bool:
    """Reads the body of a routine that this text defined, as if it stood here; False if it did not define it."""
    known = reading.session.routines.get(name)
    if known is None:
        return False
    if name not in reading.session.running:
        reading.session.running.add(name)
        reading.run_text(*known, True)
        reading.session.running.discard(name)
    return True


def anonymous_procedure(reading: Reading, cursor: Cursor) -> bool:
    """Reads Snowflake's `WITH p AS PROCEDURE ... CALL p()`: its body runs at once, if it is SQL."""
    body = next((token for token in cursor.rest() if token.kind is Kind.STRING), None)
    if body is None or not is_sql(cursor):
        return False
    reading.run_text(body.text, reading.lexer.line(body.body or body.start), True)
    return True


def call(reading: Reading, cursor: Cursor) -> bool:
    """Reads what follows CALL."""
    if reading.dialect.name == "duckdb":  # table functions of its own
        return True
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return False
    if parts[0].text.lower() in _OTHERS_PROCEDURES or parts[-1].text.upper().startswith("SYSTEM$"):
        return True
    return run_routine(reading, reading.session.stored(parts[-1]).lower())


def prepare(reading: Reading, cursor: Cursor) -> bool:
    """Reads what follows PREPARE: MySQL takes any SQL from a string, the others only queries and data."""
    name = cursor.next().text.lower()
    ways = literal_sql(cursor.rest(), reading.session) if cursor.take("FROM") else ()
    reading.session.prepared[name] = ways
    return True


def calls_of(reading: Reading, tokens: Sequence[Token]) -> None:
    """Reads the bodies of the functions that a query calls, of those that this text defined."""
    routines = reading.session.routines
    if not routines:
        return
    for token, following in pairwise(tokens):
        if following.upper == "(" and token.kind in {Kind.WORD, Kind.QUOTED} and token.text.lower() in routines:
            run_routine(reading, token.text.lower())


def query_sets(reading: Reading, tokens: Sequence[Token]) -> None:
    """Keeps what a query puts into variables: `SELECT @a = '...'`, `SELECT '...' INTO @a`, `SELECT @a := '...'`."""
    cursor = Cursor(tokens)
    if cursor.peek().kind is Kind.VARIABLE and cursor.peek(1).upper in {"=", ":=", "+="}:
        remember_all(reading.session, tokens)
        return
    into = cursor.find("INTO")
    if into > 0 and cursor.peek(into + 1).kind is Kind.VARIABLE:
        reading.session.variables[cursor.peek(into + 1).text.lower()] = literal_sql(tokens[:into], reading.session)
