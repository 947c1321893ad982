"""One text of SQL to what it touches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace as replace_fields
from itertools import pairwise
from typing import Final

from orchestrator.changes.alters import alter
from orchestrator.changes.blocks import begins_routine
from orchestrator.changes.change_set import ChangeSet
from orchestrator.changes.control import pass_control
from orchestrator.changes.creates import create, import_schema, replace, select_into, undrop
from orchestrator.changes.cursor import Cursor
from orchestrator.changes.dialects import dialect_named
from orchestrator.changes.drops import drop, exchange, rename
from orchestrator.changes.dynamic_sql import (
    COMPOSED,
    anonymous_procedure,
    call,
    calls_of,
    do_block,
    execute,
    prepare,
    procedure,
    query_sets,
)
from orchestrator.changes.errors import TemplatedError, UnknownNameError
from orchestrator.changes.known import Known
from orchestrator.changes.lexer import Lexer, TokenKind
from orchestrator.changes.literals import remember_all, with_identifiers
from orchestrator.changes.migration_markers import divide
from orchestrator.changes.notices import ReaderWarnings
from orchestrator.changes.placeholders import MARK, fill
from orchestrator.changes.reading import MAX_DEPTH, ParseContext
from orchestrator.changes.session import open_session
from orchestrator.changes.settings import end_transaction, reset, set_value, use
from orchestrator.changes.statements import MAX_HEAD, Splitter, Statement
from orchestrator.changes.table_loads import add_rows, attach, convert, copy, load, refresh, restore, sync
from orchestrator.changes.verbs import HARMLESS

_TAG: Final = re.compile(r"\$\w*\$")
_RUNS_FILES: Final = (
    "\\i",
    "\\ir",
    "\\include",
    "\\include_relative",
    "\\gexec",
    "\\.",
    ".read",
    "!source",
    "!load",
    ":r",
)
"""Commands to a client that run SQL which is not in this text."""


def read_sql(
    text: str,
    *,
    source: str,
    dialect: str,
    default_schema: str | None = None,
    values: Mapping[str, str] | None = None,
    known: Known | None = None,
    notices: ReaderWarnings | None = None,
) -> ChangeSet:
    """What the SQL in `text` touches. Names are folded as the dialect's warehouse stores them.

    `source` stands in the changes for the file's name. `values` fill placeholders, by their names. `known` is what earlier files
    showed of the database; `notices` takes the warnings, which are part of the answer if it is left out. Raises `ChangesError` for
    an unknown dialect or a `default_schema` that is none, and `TemplatedError` if a placeholder's value is not known.
    """
    warnings = notices or ReaderWarnings()
    session = open_session(dialect_named(dialect), default_schema)
    reading = ParseContext(session, source=source, known=known or Known(), notices=warnings)
    reading.run_text = lambda sql, line, in_body: _run(reading, sql, line, in_body=in_body)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    segments, left_out = divide(fill(text, values or {}), source)
    for segment in segments:
        _run(reading, segment.text, segment.line, in_body=False, delimiter=segment.delimiter)
    for line in left_out:
        warnings.add("a part that takes a migration back was left out, from this line on", f"{source}:{line}")
    found = reading.result()
    return found if notices else replace_fields(found, warnings=warnings.render())


def _run(reading: ParseContext, text: str, first_line: int, *, in_body: bool, delimiter: str = ";") -> None:
    if reading.depth >= MAX_DEPTH:
        reading.widen("SQL within SQL within SQL, too deep to be read", line=first_line, text=text)
        return
    outer_lexer, outer_declaring = reading.lexer, reading.session.declaring
    reading.lexer = Lexer(text, reading.dialect, source=reading.source, first_line=first_line)
    reading.lexer.delimiter = delimiter
    reading.depth += 1
    reading.session.declaring = False
    end = 0
    splitter = Splitter(reading.lexer)
    for statement in splitter.statements():
        around = reading.session.around
        if around is not None and text[end : statement.start].strip():
            # T-SQL: what follows CREATE SCHEMA without a semicolon or GO is made in the new schema, and nothing else is
            reading.session.move(*around)
            reading.session.around = None
        end = statement.end
        _statement(reading, statement, in_body=in_body)
        splitter.evolves = reading.session.evolves
    reading.lexer, reading.session.declaring = outer_lexer, outer_declaring
    reading.depth -= 1


def _statement(reading: ParseContext, statement: Statement, *, in_body: bool) -> None:
    lexer = reading.lexer
    outer = reading.begin(lexer.line(statement.start), lexer.text[statement.start : statement.end])
    if statement.client:
        if statement.client.split()[0].rstrip(";") in _RUNS_FILES:
            reading.widen("runs SQL that is not in this text", text=statement.client)
    elif statement.several and not begins_routine(statement.tokens[:MAX_HEAD]):
        _run(reading, reading.text, reading.line, in_body=in_body)  # several, between two delimiters of the client's
    else:
        _one(reading, statement, in_body=in_body)
    if statement.broken:
        reading.widen(statement.broken)
    reading.finish(outer)


def _one(reading: ParseContext, statement: Statement, *, in_body: bool) -> None:
    cursor = Cursor(with_identifiers(statement.tokens, reading.session))
    if not pass_control(cursor, reading.session, in_body=in_body):
        return
    try:
        if not _read(reading, cursor, in_body=in_body) and not statement.broken:
            composed = any(MARK in token.text for token in cursor.tokens if token.kind is not TokenKind.STRING)
            reading.widen(COMPOSED if composed else "a form of statement that is not known")
    except UnknownNameError as unknown:
        if unknown.placeholder == MARK:
            reading.widen(COMPOSED)
        elif reading.is_quoted:
            reading.widen("a part of a name is not known before it runs")
        else:
            line = reading.lexer.line(unknown.at) if unknown.at >= 0 else reading.line
            tag = _TAG.match(reading.lexer.text, max(unknown.at, 0)) if unknown.placeholder.startswith("$...") else None
            raise TemplatedError(tag[0] if tag else unknown.placeholder, source=reading.source, line=line) from unknown


def _read(reading: ParseContext, cursor: Cursor, *, in_body: bool) -> bool:
    token = cursor.peek()
    verb = token.upper
    after = cursor.peek(1).upper
    if after in {"=", ":="} and any(each.kind is TokenKind.STRING for each in cursor.rest()):
        calls_of(reading, cursor.rest())
    if (
        token.kind is TokenKind.VARIABLE
        or after == ":="
        or (after == "=" and token.kind is TokenKind.WORD and verb != "CALL")
    ):
        remember_all(reading.session, cursor.rest())
        return True
    if verb == "SET" and after == "STATEMENT" and (at := cursor.find("FOR")) > 0:
        cursor.at += at + 1  # MariaDB: variables for one statement
        return _read(reading, cursor, in_body=in_body)
    rule = _RULES.get(verb)
    if rule is not None:
        cursor.next()
        return rule(reading, cursor)
    if verb in {"EXECUTE", "EXEC"}:
        cursor.next()
        return execute(reading, cursor, in_body=in_body)
    if verb == "DO":
        cursor.next()
        return do_block(reading, cursor, in_body=in_body)
    if reading.dialect.batches and verb.startswith(("SP_", "XP_")):
        return procedure(reading, cursor)
    if verb == "EXPLAIN":
        return not _is_analyzed(cursor) or _read(reading, cursor, in_body=in_body)
    if verb in {"SELECT", "WITH", "FROM", "(", "PERFORM"}:
        return _query(reading, cursor, in_body=in_body)
    if verb in HARMLESS or verb in {"", ")"} or token.kind in {TokenKind.NUMBER, TokenKind.STRING}:
        if verb in {"COMMIT", "ROLLBACK", "ABORT"}:
            end_transaction(reading)
        return True
    return in_body and _assigns(cursor)


def _assigns(cursor: Cursor) -> bool:
    """Whether a body's statement is an assignment: `x[1] := ...`, `$1 := ...`, `r.a = ...`. No two words stand before its sign."""
    target = cursor.rest()[: max(cursor.find(":=", "="), 0)]
    return bool(target) and not any(one.kind is other.kind is TokenKind.WORD for one, other in pairwise(target))


def _is_analyzed(cursor: Cursor) -> bool:
    """Goes past EXPLAIN and its options: with ANALYZE the statement behind them is run."""
    cursor.next()
    begin = cursor.at
    if cursor.word == "(":
        cursor.skip_parens()
    while cursor.take_any(frozenset({"ANALYZE", "ANALYSE", "VERBOSE"})):
        pass
    return any(token.upper in {"ANALYZE", "ANALYSE"} for token in cursor.tokens[begin : cursor.at])


def _query(reading: ParseContext, cursor: Cursor, *, in_body: bool) -> bool:
    calls_of(reading, cursor.rest())
    if cursor.next().upper == "WITH" and cursor.find("PROCEDURE") > 0:
        return anonymous_procedure(reading, cursor)
    _set_config(reading, cursor)
    if reading.dialect.select_into and not (in_body and not reading.dialect.batches):
        query_sets(reading, cursor.rest(), in_body=in_body)
        return select_into(reading, cursor)
    query_sets(reading, cursor.rest(), in_body=in_body)
    return True


def _set_config(reading: ParseContext, cursor: Cursor) -> None:
    """`SELECT set_config('search_path', '...', false)`, as pg_dump writes it."""
    tokens = cursor.rest()
    for at, token in enumerate(tokens[:6]):
        if token.upper == "SET_CONFIG" and len(tokens) > at + 4 and tokens[at + 2].text == "search_path":
            set_value(reading, Cursor([tokens[at + 2]._replace(upper="SEARCH_PATH"), *tokens[at + 4 : at + 5]]))


def _let(reading: ParseContext, cursor: Cursor) -> bool:
    remember_all(reading.session, cursor.rest())
    return True


_RULES: Final[dict[str, Callable[[ParseContext, Cursor], bool]]] = {
    "CREATE": create,
    "ALTER": alter,
    "REPLACE": replace,
    "DROP": drop,
    "UNDROP": undrop,
    "RENAME": rename,
    "EXCHANGE": exchange,
    "IMPORT": import_schema,
    "USE": use,
    "SET": set_value,
    "RESET": reset,
    "CALL": call,
    "PREPARE": prepare,
    "LOAD": load,
    "RESTORE": restore,
    "ATTACH": attach,
    "COPY": copy,
    "INSERT": add_rows,
    "MERGE": add_rows,
    "REFRESH": refresh,
    "CONVERT": convert,
    "SYNC": sync,
    "LET": _let,
}
