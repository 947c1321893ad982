"""SQL in strings and routines that runs at once: DO, EXECUTE, EXEC, PREPARE, CALL, and functions that a query calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from orchestrator.changes.change_set import Change, NotUnderstood
from orchestrator.changes.context import ParseContext
from orchestrator.changes.creates import is_sql
from orchestrator.changes.cursor import Cursor, split_commas, words
from orchestrator.changes.errors import UnknownFormError
from orchestrator.changes.keywords import GEOMETRY, is_kind
from orchestrator.changes.lexer import Token, TokenKind
from orchestrator.changes.literals import literal_sql, remember_all
from orchestrator.changes.placeholders import MARK
from orchestrator.changes.procedures import geometry, system_procedure
from orchestrator.changes.session import Routine

_NOT_SQL: Final = words("TASK ALERT AS SERVICE JOB NOTEBOOK STREAMLIT PROJECT")
_VENDORS: Final = words("bq sys mysql system information_schema aws_commons snowflake")
"""Schemas of the vendors' own procedures: they change no table of ours."""
_CHANGE_NOTHING: Final = words("""
    refresh_continuous_aggregate run_job compress_chunk decompress_chunk recompress_chunk move_chunk convert_to_columnstore
    convert_to_rowstore add_columnstore_policy remove_columnstore_policy
""")
"""Procedures of TimescaleDB."""
COMPOSED: Final = "runs SQL that is put together when it runs"
_DDL: Final = re.compile(
    r"\s*+(?:CREATE|ALTER|DROP|RENAME|UNDROP|EXCHANGE)\s++(?:OR\s++\w++\s++)?(\w++)\s++\S", re.IGNORECASE
)
"""How SQL begins that a function may be given as text; the group is what is created, changed or dropped."""
_BUILT_IN: Final = words("""
    IN VALUES ANY ALL SOME EXISTS AND OR NOT ON WHEN THEN ELSE AS BY WHERE SELECT FROM JOIN HAVING LIMIT OVER FILTER INTERVAL ARRAY ROW
    CAST CONCAT CONCAT_WS FORMAT COALESCE NULLIF IF IFNULL IIF NVL ISNULL DECODE LOWER UPPER INITCAP LENGTH CHAR_LENGTH LEN REPLACE
    REGEXP_REPLACE REGEXP_MATCHES REGEXP_LIKE SUBSTRING SUBSTR LEFT RIGHT POSITION STRPOS INSTR CHARINDEX TRIM BTRIM LTRIM RTRIM MD5 SHA1
    SHA2 SHA256 QUOTE_LITERAL QUOTE_NULLABLE QUOTE STRING_AGG GROUP_CONCAT TO_TSVECTOR TO_TSQUERY PLAINTO_TSQUERY TO_JSON TO_JSONB
    JSON_BUILD_OBJECT JSONB_BUILD_OBJECT JSON_OBJECT JSON_BUILD_ARRAY JSONB_BUILD_ARRAY TO_CHAR PG_NOTIFY STARTS_WITH LIKE GREATEST LEAST
    SPLIT_PART STRING_TO_ARRAY UNNEST CONVERT TRANSLATE REVERSE REPEAT LPAD RPAD NVL2 MAX MIN COUNT SCHEDULE RAISE_APPLICATION_ERROR VALUE
    JSON_ARRAY PARSE_JSON OBJECT_CONSTRUCT ARRAY_CONSTRUCT STRUCT NAMED_STRUCT MAP
""")
"""Functions, and words before a parenthesis, that run no text that they are given; `cron.schedule` runs it later."""
MAX_CALLS: Final = 200
"""How many calls of one statement are read."""


def do_block(reading: ParseContext, cursor: Cursor, *, in_body: bool) -> None:
    """Read what follows DO: a block of PostgreSQL, or an expression of MySQL."""
    language = cursor.next().text.lower() if cursor.take("LANGUAGE") else ""
    code = cursor.next()
    if code.kind is not TokenKind.STRING:
        if not in_body and reading.dialect.name != "mysql":
            raise UnknownFormError
        return
    if cursor.take("LANGUAGE"):
        language = cursor.next().text.lower()
    if language not in {"", "plpgsql", "sql"}:
        raise UnknownFormError
    reading.run_text(code.text, reading.lexer.line(code.body), True)


def execute(reading: ParseContext, cursor: Cursor, *, in_body: bool) -> None:
    """Read what follows EXECUTE or EXEC."""
    if cursor.word in _NOT_SQL and cursor.peek(1).kind is not TokenKind.END:
        return
    if cursor.take("IMMEDIATE"):
        if cursor.word == "FROM":
            raise UnknownFormError
        _run_expression(reading, cursor.until("USING", "INTO", "LOOP"))
    elif reading.dialect.batches:
        _exec(reading, cursor)
    elif in_body and reading.dialect.name != "mysql":
        _run_expression(reading, cursor.until("USING", "INTO", "LOOP"))
    else:
        ways = reading.session.prepared.get(cursor.next().text.lower(), () if reading.dialect.select_into else None)
        if ways is None:
            raise UnknownFormError
        _run_ways(reading, ways, reading.line)


def _run_expression(reading: ParseContext, tokens: Sequence[Token]) -> None:
    line = reading.lexer.line(tokens[0].body or tokens[0].start) if tokens else reading.line
    _run_ways(reading, literal_sql(tokens, reading.session), line)


def _run_ways(reading: ParseContext, ways: tuple[str, ...], line: int) -> None:
    """Read each text that may run. What is not known in one is a mark, and a statement is read as far as the mark allows."""
    for way in ways:
        if not way.replace(MARK, "").strip():
            reading.widen(COMPOSED)
        else:
            reading.run_text(way, line, False)


def _exec(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows EXEC in T-SQL: a string in parentheses, or a procedure."""
    if cursor.word == "(":
        # With QUOTED_IDENTIFIER off a string may stand in double quotes; a name cannot stand here.
        strings = [each._replace(kind=TokenKind.STRING) if each.quote == '"' else each for each in cursor.skip_parens()]
        with reading.session.apart():
            _run_expression(reading, strings)
        return
    _pass_result(cursor)
    procedure(reading, cursor)


def _pass_result(cursor: Cursor) -> None:
    """Pass `@result =`."""
    if cursor.peek().kind is TokenKind.VARIABLE and cursor.peek(1).upper == "=":
        cursor.at += 2


def procedure(reading: ParseContext, cursor: Cursor) -> None:
    """Read a procedure's name and arguments: the known ones of the system, and those that this text defines."""
    parts = reading.name(cursor)
    with reading.session.apart():
        if len(parts) > 2 and parts[-3].text:  # another database's: it works there
            reading.session.move(reading.session.stored(parts[-3]), None)
        if parts[-1].text.lower() == "sp_executesql":
            _pass_result(cursor)
            _run_expression(reading, cursor.until(","))
            return
        if system_procedure(reading, parts, cursor):
            return
    if not run_routine(reading, reading.session.stored(parts[-1]).lower(), split_commas(cursor.rest())):
        raise UnknownFormError


def run_routine(reading: ParseContext, name: str, arguments: Sequence[Sequence[Token]]) -> bool:
    """Read the body of a routine that this text or an earlier file defined, as if it stood here, with its arguments in place.

    What is not understood in it counts once, at the place of the call. Without a body, SQL that an argument holds is read. False
    if neither is there.
    """
    session = reading.session
    routine = reading.known.routines.get(name)
    if routine is None:
        return _run_arguments(reading, arguments)
    if name in session.running:
        return True
    bound = _bound(reading, routine.parameters, arguments)
    key = (routine, session.catalog, session.schema, *sorted(bound.items()))
    if key not in reading.ran:
        reading.ran[key] = _run_body(reading, name, routine, bound)
    changes, lost = reading.ran[key]
    reading.budget -= 50 * len(changes)
    reading.changes += dict.fromkeys(replace(change, line=reading.line) for change in changes)
    if lost and not _run_arguments(reading, arguments):
        where = f"line {lost[0].line}" if routine.source == reading.source else "body in another file"
        reading.widen(f"calls a routine, whose {where} is not understood: {lost[0].reason}")
    return True


def _run_body(
    reading: ParseContext, name: str, routine: Routine, bound: dict[str, tuple[str, ...]]
) -> tuple[list[Change], list[NotUnderstood]]:
    """Read a routine's body, and return what it touches and what is not understood in it."""
    session, outside = reading.session, (reading.changes, reading.not_understood, reading.session.variables)
    reading.changes, reading.not_understood, session.variables = [], {}, session.variables | bound
    session.running.add(name)
    reading.run_text(routine.text, routine.line, True)
    session.running.discard(name)
    found = reading.changes, list(reading.not_understood.values())
    reading.changes, reading.not_understood, session.variables = outside
    return found


def _bound(
    reading: ParseContext, parameters: tuple[str, ...], arguments: Sequence[Sequence[Token]]
) -> dict[str, tuple[str, ...]]:
    """Return what each parameter may hold, by its name and by its number."""
    bound: dict[str, tuple[str, ...]] = {}
    for number, argument in enumerate(arguments):
        cursor = Cursor(argument)
        name = parameters[number] if number < len(parameters) else ""
        if cursor.peek(1).upper in {"=", "=>", ":="}:
            name = cursor.next().text.lower()
            cursor.next()
        bound[name] = bound[f"${number + 1}"] = literal_sql(cursor.rest(), reading.session)
    return bound


def _run_arguments(reading: ParseContext, arguments: Sequence[Sequence[Token]]) -> bool:
    """Read SQL that a function is given as text; False if there is none."""
    ran = False
    for argument in arguments:
        value = argument[2:] if len(argument) > 2 and argument[1].upper in {"=", "=>", ":="} else argument
        if not any(token.kind is TokenKind.STRING for token in value):
            continue
        for way in literal_sql(value, reading.session):
            found = _DDL.match(way)
            if found is not None and is_kind(found[1].upper()):
                ran, outer, reading.is_quoted = True, reading.is_quoted, True
                reading.run_text(way, reading.lexer.line(value[0].start), False)
                reading.is_quoted = outer
    return ran


def anonymous_procedure(reading: ParseContext, cursor: Cursor) -> None:
    """Read Snowflake's `WITH p AS PROCEDURE ... CALL p()`: its body runs at once, if it is SQL."""
    body = next((token for token in cursor.rest() if token.kind is TokenKind.STRING), None)
    if body is None or not is_sql(cursor):
        raise UnknownFormError
    reading.run_text(body.text, reading.lexer.line(body.body or body.start), True)


def call(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows CALL."""
    if reading.dialect.name == "duckdb":  # table functions of its own
        return
    parts = reading.name(cursor)
    name = reading.session.stored(parts[-1]).lower()
    if parts[0].text.lower() in _VENDORS or name.startswith("system$") or name in _CHANGE_NOTHING:
        return
    if not run_routine(reading, name, split_commas(cursor.skip_parens())):
        raise UnknownFormError


def prepare(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows PREPARE: MySQL takes any SQL from a string, the others only queries and data."""
    name = cursor.next().text.lower()
    reading.session.prepared[name] = literal_sql(cursor.rest(), reading.session) if cursor.take("FROM") else ()


def calls_of(reading: ParseContext, tokens: Sequence[Token]) -> None:
    """Read what the functions run that a statement calls: those that this text defines, and those that are given SQL as text."""
    calls = 0
    has_sql = any(token.kind is TokenKind.STRING and _DDL.match(token.text) for token in tokens)
    for at, (token, following) in enumerate(pairwise(tokens)):
        if following.upper != "(" or token.kind not in {TokenKind.WORD, TokenKind.QUOTED}:
            continue
        name = token.text.lower()
        is_read = token.upper in GEOMETRY or (has_sql and token.upper not in _BUILT_IN)
        if not is_read and not reading.known.routines.get(name):
            continue
        calls += 1
        if calls > MAX_CALLS:
            reading.widen("calls more functions than are read in one statement")
            return
        arguments = split_commas(Cursor(tokens, at + 1).skip_parens())
        if token.upper in GEOMETRY:
            geometry(reading, token.upper, arguments)
        else:
            run_routine(reading, name, arguments)


def query_sets(reading: ParseContext, tokens: Sequence[Token], *, in_body: bool) -> None:
    """Record what a query puts into variables: `SELECT @a = '...'`, `SELECT '...' INTO @a`, `SELECT @a := '...'`."""
    cursor = Cursor(tokens)
    if cursor.peek().kind is TokenKind.VARIABLE and cursor.peek(1).upper in {"=", ":=", "+="}:
        remember_all(reading.session, tokens)
        return
    value = cursor.until("FROM", "INTO")
    if cursor.take_to("INTO") and value:
        cursor.take("STRICT")
        target = cursor.next()
        if target.kind is TokenKind.VARIABLE or (in_body and target.kind is TokenKind.WORD):
            reading.session.variables[target.text.lower()] = literal_sql(value, reading.session)
