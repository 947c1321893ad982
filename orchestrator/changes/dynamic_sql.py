"""SQL that runs at once, whatever it is wrapped in: DO, EXECUTE, EXEC, PREPARE, CALL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from orchestrator.changes.change_set import Effect
from orchestrator.changes.creates import is_sql
from orchestrator.changes.cursor import Cursor, split_commas
from orchestrator.changes.kinds import is_kind
from orchestrator.changes.lexer import Token, TokenKind
from orchestrator.changes.literals import literal_sql, remember_all
from orchestrator.changes.names import NamePart, read_name
from orchestrator.changes.placeholders import MARK
from orchestrator.changes.procedures import system_procedure
from orchestrator.changes.reading import ParseContext

_NOT_SQL: Final = frozenset({"TASK", "ALERT", "AS", "SERVICE", "JOB", "NOTEBOOK", "STREAMLIT", "PROJECT"})
_OTHERS_PROCEDURES: Final = frozenset(
    {"bq", "sys", "mysql", "system", "information_schema", "aws_commons", "snowflake"}
)
"""Schemas of the vendors' own procedures: they change no table of ours."""
_CHANGE_NOTHING: Final = frozenset(
    {"refresh_continuous_aggregate", "run_job", "compress_chunk", "decompress_chunk", "recompress_chunk", "move_chunk"}
    | {"convert_to_columnstore", "convert_to_rowstore", "add_columnstore_policy", "remove_columnstore_policy"}
)
"""Procedures of TimescaleDB."""
COMPOSED: Final = "runs SQL that is put together when it runs"
_DDL: Final = re.compile(
    r"\s*+(?:CREATE|ALTER|DROP|RENAME|UNDROP|EXCHANGE)\s++(?:OR\s++\w++\s++)?(\w++)\s++\S", re.IGNORECASE
)
"""How SQL begins that a function may be given as text; the group is what is made, changed or dropped."""
_BUILT_IN: Final = frozenset(
    {
        *("IN", "VALUES", "ANY", "ALL", "SOME", "EXISTS", "AND", "OR", "NOT", "ON", "WHEN", "THEN", "ELSE", "AS", "BY"),
        *("WHERE", "SELECT", "FROM", "JOIN", "HAVING", "LIMIT", "OVER", "FILTER", "INTERVAL", "ARRAY", "ROW", "CAST"),
        *("CONCAT", "CONCAT_WS", "FORMAT", "COALESCE", "NULLIF", "IF", "IFNULL", "IIF", "NVL", "ISNULL", "DECODE"),
        *("LOWER", "UPPER", "INITCAP", "LENGTH", "CHAR_LENGTH", "LEN", "REPLACE", "REGEXP_REPLACE", "REGEXP_MATCHES"),
        *("REGEXP_LIKE", "SUBSTRING", "SUBSTR", "LEFT", "RIGHT", "POSITION", "STRPOS", "INSTR", "CHARINDEX", "TRIM"),
        *("BTRIM", "LTRIM", "RTRIM", "MD5", "SHA1", "SHA2", "SHA256", "QUOTE_LITERAL", "QUOTE_NULLABLE", "QUOTE"),
        *("STRING_AGG", "GROUP_CONCAT", "TO_TSVECTOR", "TO_TSQUERY", "PLAINTO_TSQUERY", "TO_JSON", "TO_JSONB"),
        *("JSON_BUILD_OBJECT", "JSONB_BUILD_OBJECT", "JSON_OBJECT", "JSON_BUILD_ARRAY", "JSONB_BUILD_ARRAY", "TO_CHAR"),
        *(
            "PG_NOTIFY",
            "STARTS_WITH",
            "LIKE",
            "GREATEST",
            "LEAST",
            "SPLIT_PART",
            "STRING_TO_ARRAY",
            "UNNEST",
            "CONVERT",
        ),
        *(
            "TRANSLATE",
            "REVERSE",
            "REPEAT",
            "LPAD",
            "RPAD",
            "NVL2",
            "MAX",
            "MIN",
            "COUNT",
            "SCHEDULE",
            "RAISE_APPLICATION_ERROR",
        ),
    }
)
"""Functions, and words before a parenthesis, that run no text that they are given; `cron.schedule` runs it later."""
_GEOMETRY: Final = {
    "ADDGEOMETRYCOLUMN": (Effect.ADDITIVE, "adds a column", 1),
    "ADDRASTERCOLUMN": (Effect.ADDITIVE, "adds a column", 1),
    "ADDTOPOGEOMETRYCOLUMN": (Effect.ADDITIVE, "adds a column", 1),
    "UPDATEGEOMETRYSRID": (Effect.ADDITIVE, "changes a column's reference system", 1),
    "DROPGEOMETRYCOLUMN": (Effect.DESTRUCTIVE, "drops a column", 1),
    "DROPRASTERCOLUMN": (Effect.DESTRUCTIVE, "drops a column", 1),
    "DROPTOPOGEOMETRYCOLUMN": (Effect.DESTRUCTIVE, "drops a column", 1),
    "DROPGEOMETRYTABLE": (Effect.DESTRUCTIVE, "drops the table", 0),
    "DROPRASTERTABLE": (Effect.DESTRUCTIVE, "drops the table", 0),
}
"""PostGIS: what each function does to its table, why, and how many texts come behind the table's name."""
MAX_CALLS: Final = 200
"""So many calls of one statement are read."""
MAX_RUN: Final = 2_000_000
"""So much of routines' bodies is read for the calls of one file, in characters."""


def do_block(reading: ParseContext, cursor: Cursor, *, in_body: bool) -> bool:
    """Reads what follows DO: a block of PostgreSQL, or an expression of MySQL."""
    language = cursor.next().text.lower() if cursor.take("LANGUAGE") else ""
    code = cursor.peek()
    if code.kind is not TokenKind.STRING:
        return in_body or reading.dialect.name == "mysql"
    cursor.next()
    if cursor.take("LANGUAGE"):
        language = cursor.next().text.lower()
    if language not in {"", "plpgsql", "sql"}:
        return False
    reading.run_text(code.text, reading.lexer.line(code.body), True)
    return True


def execute(reading: ParseContext, cursor: Cursor, *, in_body: bool) -> bool:
    """Reads what follows EXECUTE or EXEC."""
    if cursor.word in _NOT_SQL and cursor.peek(1).kind is not TokenKind.END:
        return True
    if cursor.take("IMMEDIATE"):
        return cursor.word != "FROM" and _run_expression(reading, cursor)
    if reading.dialect.batches:
        return _exec(reading, cursor)
    if in_body and reading.dialect.name != "mysql":
        return _run_expression(reading, cursor)
    name = cursor.next()
    ways = reading.session.prepared.get(name.text.lower(), () if reading.dialect.select_into else None)
    return ways is not None and _run_ways(reading, ways, reading.line)


def _run_expression(reading: ParseContext, cursor: Cursor) -> bool:
    end = cursor.find("USING", "INTO", "LOOP")
    tokens = cursor.rest()[:end] if end >= 0 else cursor.rest()
    line = reading.lexer.line(tokens[0].body or tokens[0].start) if tokens else reading.line
    return _run_ways(reading, literal_sql(tokens, reading.session), line)


def _run_ways(reading: ParseContext, ways: tuple[str, ...], line: int) -> bool:
    """Reads each text that may run. What is not known in one is a mark, and a statement is read as far as the mark lets it."""
    for way in ways:
        if not way.replace(MARK, "").strip():
            reading.widen(COMPOSED)
        else:
            reading.run_text(way, line, False)
    return True


def _exec(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows EXEC in T-SQL: a string in parentheses, or a procedure."""
    if cursor.word == "(":
        begin = cursor.at
        cursor.skip_parens()
        # With QUOTED_IDENTIFIER off a string may stand in double quotes; a name cannot stand here.
        inside = [
            token._replace(kind=TokenKind.STRING) if token.quote == '"' else token
            for token in cursor.tokens[begin + 1 : cursor.at - 1]
        ]
        line = reading.lexer.line(inside[0].body or inside[0].start) if inside else reading.line
        with reading.session.apart():
            return _run_ways(reading, literal_sql(inside, reading.session), line)
    if cursor.peek().kind is TokenKind.VARIABLE and cursor.peek(1).upper == "=":
        cursor.at += 2
    return procedure(reading, cursor)


def procedure(reading: ParseContext, cursor: Cursor) -> bool:
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
    return run_routine(reading, reading.session.stored(parts[-1]).lower(), split_commas(cursor.rest()))


def _executesql(reading: ParseContext, cursor: Cursor) -> bool:
    if cursor.peek().kind is TokenKind.VARIABLE and cursor.peek(1).upper == "=":
        cursor.at += 2
    end = cursor.find(",")
    tokens = cursor.rest()[:end] if end >= 0 else cursor.rest()
    line = reading.lexer.line(tokens[0].body or tokens[0].start) if tokens else reading.line
    return _run_ways(reading, literal_sql(tokens, reading.session), line)


def run_routine(reading: ParseContext, name: str, arguments: Sequence[Sequence[Token]]) -> bool:
    """Reads the body of a routine that this text or an earlier file defined, as if it stood here, with its arguments in their places.

    What is not understood in it counts once, at the place of the call. Without a body, SQL that an argument holds is read. False
    if neither is there.
    """
    known = reading.session.routines.get(name)
    is_here = known is not None
    if known is None:
        known = reading.known.routines.get(name)
    if known is None:
        return _run_arguments(reading, arguments)
    reading.run_length += len(known.text)
    if reading.run_length > MAX_RUN:
        reading.widen("calls a routine, and too much of routines was read by then")
        return True
    if name in reading.session.running:
        return True
    variables = reading.session.variables
    reading.session.variables = variables | _bound(reading, known.parameters, arguments)
    reading.session.running.add(name)
    outside, before = reading.not_understood, len(reading.changes)
    reading.not_understood = {}
    reading.run_text(known.text, known.line, True)
    if not is_here:  # its lines are another file's
        reading.changes[before:] = [replace(change, line=reading.line) for change in reading.changes[before:]]
    lost, reading.not_understood = reading.not_understood, outside
    reading.session.running.discard(name)
    reading.session.variables = variables
    if lost and not _run_arguments(reading, arguments):
        first = next(iter(lost.values()))
        where = f"line {first.line}" if is_here else "body in another file"
        reading.widen(f"calls a routine, whose {where} is not understood: {first.reason}")
    return True


def _bound(
    reading: ParseContext, parameters: tuple[str, ...], arguments: Sequence[Sequence[Token]]
) -> dict[str, tuple[str, ...]]:
    """What each parameter may hold, by its name and by its number."""
    bound: dict[str, tuple[str, ...]] = {}
    for number, argument in enumerate(arguments):
        cursor = Cursor(argument)
        name = parameters[number] if number < len(parameters) else ""
        if cursor.peek(1).upper in {"=", "=>", ":="}:
            name = cursor.next().text.lower()
            cursor.next()
        bound[name] = literal_sql(cursor.rest(), reading.session)
        bound[f"${number + 1}"] = bound[name]
    return bound


def _run_arguments(reading: ParseContext, arguments: Sequence[Sequence[Token]]) -> bool:
    """Reads SQL that a function is given as text; False if there is none."""
    ran = False
    for argument in arguments:
        begin = 2 if len(argument) > 2 and argument[1].upper in {"=", "=>", ":="} else 0
        if not any(token.kind is TokenKind.STRING for token in argument[begin:]):
            continue
        for way in literal_sql(argument[begin:], reading.session):
            found = _DDL.match(way)
            if found is not None and is_kind(found[1].upper()):
                ran, outer, reading.is_quoted = True, reading.is_quoted, True
                reading.run_text(way, reading.lexer.line(argument[begin].start), False)
                reading.is_quoted = outer
    return ran


def anonymous_procedure(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads Snowflake's `WITH p AS PROCEDURE ... CALL p()`: its body runs at once, if it is SQL."""
    body = next((token for token in cursor.rest() if token.kind is TokenKind.STRING), None)
    if body is None or not is_sql(cursor):
        return False
    reading.run_text(body.text, reading.lexer.line(body.body or body.start), True)
    return True


def call(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows CALL."""
    if reading.dialect.name == "duckdb":  # table functions of its own
        return True
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return False
    name = reading.session.stored(parts[-1]).lower()
    if parts[0].text.lower() in _OTHERS_PROCEDURES or name.startswith("system$") or name in _CHANGE_NOTHING:
        return True
    begin = cursor.at
    cursor.skip_parens()
    return run_routine(reading, name, split_commas(cursor.tokens[begin + 1 : cursor.at - 1]))


def prepare(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows PREPARE: MySQL takes any SQL from a string, the others only queries and data."""
    name = cursor.next().text.lower()
    ways = literal_sql(cursor.rest(), reading.session) if cursor.take("FROM") else ()
    reading.session.prepared[name] = ways
    return True


def calls_of(reading: ParseContext, tokens: Sequence[Token]) -> None:
    """Reads what the functions run that a query calls: those that this text defines, and those that are given SQL as text."""
    here, elsewhere = reading.session.routines, reading.known.routines
    calls = 0
    is_told = any(token.kind is TokenKind.STRING and _DDL.match(token.text) for token in tokens)
    for at, (token, following) in enumerate(pairwise(tokens)):
        if following.upper != "(" or token.kind not in {TokenKind.WORD, TokenKind.QUOTED}:
            continue
        name = token.text.lower()
        if (
            name in here
            or elsewhere.get(name)
            or token.upper in _GEOMETRY
            or (is_told and token.upper not in _BUILT_IN)
        ):
            calls += 1
            if calls > MAX_CALLS:
                reading.widen("calls more functions than are read in one statement")
                return
            cursor = Cursor(tokens, at + 1)
            cursor.skip_parens()
            arguments = split_commas(tokens[at + 2 : cursor.at - 1])
            if token.upper in _GEOMETRY:
                _geometry(reading, token.upper, arguments)
            else:
                run_routine(reading, name, arguments)


def _geometry(reading: ParseContext, name: str, arguments: Sequence[Sequence[Token]]) -> None:
    """Reads a function of PostGIS that alters or drops a table: `(catalog, schema, table, column, ...)`, the first two at will."""
    effect, reason, behind = _GEOMETRY[name]
    texts: list[str] = []
    for argument in arguments:
        if len(argument) not in {1, 3} or argument[0].kind is not TokenKind.STRING:  # `'x'` or `'x'::name`
            break
        texts.append(argument[0].text)
    if name == "ADDTOPOGEOMETRYCOLUMN":
        texts = texts[1:4]
    place = texts[: len(texts) - behind][-3:]
    if not place:
        reading.widen(f"{reason} of a table that is not known")
        return
    parts = tuple(NamePart(text, quoted=True) for text in place if text)
    reading.touch_table(parts, effect, reason)


def query_sets(reading: ParseContext, tokens: Sequence[Token], *, in_body: bool) -> None:
    """Keeps what a query puts into variables: `SELECT @a = '...'`, `SELECT '...' INTO @a`, `SELECT @a := '...'`."""
    cursor = Cursor(tokens)
    if cursor.peek().kind is TokenKind.VARIABLE and cursor.peek(1).upper in {"=", ":=", "+="}:
        remember_all(reading.session, tokens)
        return
    into = cursor.find("INTO")
    if into > 0:
        target = cursor.peek(into + 1)
        if target.upper == "STRICT":
            target = cursor.peek(into + 2)
        if target.kind is TokenKind.VARIABLE or (in_body and target.kind is TokenKind.WORD):
            end = cursor.find("FROM", "INTO")
            reading.session.variables[target.text.lower()] = literal_sql(tokens[:end], reading.session)
