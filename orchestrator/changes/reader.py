"""One text of SQL to what it touches."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Final

from orchestrator.changes import dynamic_sql, objects, settings
from orchestrator.changes.alters import alter
from orchestrator.changes.change_set import ChangeSet, ReaderWarnings
from orchestrator.changes.context import Known, ParseContext, Rule
from orchestrator.changes.dialects import dialect_named
from orchestrator.changes.errors import TemplatedError, UnknownFormError, UnknownNameError
from orchestrator.changes.keywords import CALLING, HARMLESS
from orchestrator.changes.lexer import Cursor, Lexer, TokenKind, words
from orchestrator.changes.literals import remember_all, with_identifiers
from orchestrator.changes.session import open_session
from orchestrator.changes.statements import MAX_HEAD, Splitter, Statement, begins_routine, pass_control
from orchestrator.changes.tool_text import MARK, PLACEHOLDER, Filled, divide, fill

MAX_DEPTH: Final = 12
"""The deepest nesting of SQL in strings that is read."""
MAX_RUN: Final = 1_000_000
"""Characters of SQL in strings and routines that are read for one file, in addition to three times its length."""
_RUNS_FILES: Final = words("\\i \\ir \\include \\include_relative \\gexec \\. .read !source !load :r")
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
    """Return what the SQL in `text` touches. Names are folded as the dialect's warehouse stores them.

    `source` is the file's name in the changes. `values` fill placeholders, by name. `known` is what earlier files showed of the
    database. `notices` collects the warnings; without it they are in the result. Raises `ChangesError` for an unknown dialect or an
    invalid `default_schema`, and `TemplatedError` if a placeholder's value is not known.
    """
    session = open_session(dialect_named(dialect), default_schema)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    reading = ParseContext(
        session=session,
        dialect=session.dialect,
        source=source,
        known=known or Known(),
        notices=notices or ReaderWarnings(),
        file_text=text,
        values=values or {},
        budget=MAX_RUN + 3 * len(text),
        filled=Filled(text),
        lexer=Lexer("", session.dialect),
    )
    reading.run_text = partial(_run, reading)
    segments, left_out = divide(text, source)
    own: dict[str, str] = {}
    for segment in segments:
        reading.filled = fill(segment.text, reading.values, own)
        try:
            reading.run_text(reading.filled.text, segment.line, delimiter=segment.delimiter)
        except TemplatedError as error:
            raise _without_values(error, text, reading.values) from None
    for line in left_out:
        reading.notices.add("a part that reverts the migration was left out, from this line on", f"{source}:{line}")
    return ChangeSet(
        changes=tuple(reading.changes),
        not_understood=tuple(reading.not_understood.values()),
        warnings=() if notices else reading.notices.render(),
    )


def _without_values(error: TemplatedError, text: str, values: Mapping[str, str]) -> TemplatedError:
    """Return the error. If its placeholder contains the value of another, it names the line of the file instead."""
    if error.placeholder in text or not any(value and value in error.placeholder for value in values.values()):
        return error
    inner = PLACEHOLDER.search(error.placeholder)
    is_written = inner is not None and inner[0] in text
    shown = inner[0] if inner and is_written else text.split("\n")[error.line - 1]
    return TemplatedError(shown, source=error.source, line=error.line)


def _run(reading: ParseContext, text: str, first_line: int, *, in_body: bool = False, delimiter: str = ";") -> None:
    """Read each statement of a text; `in_body` says that it is a block of the procedural language."""
    reading.budget -= len(text) if reading.depth else 0
    if reading.depth >= MAX_DEPTH or reading.budget < 0:
        what = "too deep" if reading.depth >= MAX_DEPTH else "more than is read"
        reading.widen(f"nested SQL, {what}", line=first_line, text=text)
        return
    session = reading.session
    outer = (reading.lexer, session.declaring, session.in_body)
    reading.lexer = Lexer(text, reading.dialect, source=reading.source, first_line=first_line)
    reading.lexer.delimiter = delimiter
    reading.depth += 1
    session.declaring, session.in_body = False, in_body
    end = 0
    splitter = Splitter(reading.lexer, reading.known.routines)
    for statement in splitter.statements():
        if session.around is not None and text[end : statement.start].strip():
            # T-SQL: what follows CREATE SCHEMA without a semicolon or GO is made in the new schema, and nothing else is
            session.move(*session.around)
            session.around = None
        end = statement.end
        if reading.depth == 1:
            reading.place = (statement.start, end)
        with reading.statement(reading.lexer.line(statement.start), text[statement.start : end]):
            if statement.client:
                if statement.client.split()[0].rstrip(";") in _RUNS_FILES:
                    reading.widen("runs SQL that is not in this text", text=statement.client)
            elif statement.several and not begins_routine(statement.tokens[:MAX_HEAD]):
                # several, between two delimiters of the client's
                reading.run_text(reading.text, reading.line, in_body=in_body)
            else:
                _one(reading, statement)
            if statement.broken:
                reading.widen(statement.broken)
        splitter.evolves = session.evolves
    reading.lexer, session.declaring, session.in_body = outer
    reading.depth -= 1


def _one(reading: ParseContext, statement: Statement) -> None:
    cursor = Cursor(with_identifiers(statement.tokens, reading.session))
    is_statement = pass_control(cursor, reading.session)
    try:
        dynamic_sql.calls_of(reading, cursor.tokens[: cursor.at if is_statement else None])
        if is_statement:
            _read(reading, cursor)
    except UnknownFormError:
        composed = any(MARK in token.text for token in cursor.tokens if token.kind is not TokenKind.STRING)
        if not statement.broken:
            reading.widen(dynamic_sql.COMPOSED if composed else "this form of statement is not known")
    except UnknownNameError as unknown:
        if unknown.placeholder == MARK:
            reading.widen(dynamic_sql.COMPOSED)
        elif reading.is_quoted:
            reading.widen("a part of a name is known only at run time")
        else:
            line = reading.lexer.line(unknown.at) if unknown.at >= 0 else reading.line
            raise TemplatedError(unknown.placeholder, source=reading.source, line=line) from unknown


def _read(reading: ParseContext, cursor: Cursor) -> None:
    token = cursor.peek()
    verb = token.upper
    after = cursor.peek(1).upper
    if after in {"=", ":="} or verb in CALLING:
        dynamic_sql.calls_of(reading, cursor.rest())
    is_word = token.kind is TokenKind.WORD and verb != "CALL"
    if cursor.take("LET") or token.kind is TokenKind.VARIABLE or after == ":=" or (after == "=" and is_word):
        remember_all(reading.session, cursor.rest())
    elif verb == "SET" and after == "STATEMENT" and cursor.take_to("FOR"):
        _read(reading, cursor)  # MariaDB: variables for one statement
    elif rule := _RULES.get(verb):
        cursor.next()
        rule(reading, cursor)
    elif reading.dialect.batches and verb.startswith(("SP_", "XP_")):
        dynamic_sql.procedure(reading, cursor)
    elif verb in {"SELECT", "WITH", "FROM", "(", "PERFORM"}:
        _query(reading, cursor)
    elif verb in {"COMMIT", "ROLLBACK", "ABORT"} and reading.session.outside is not None:
        reading.session.move(*reading.session.outside)  # SET LOCAL ends with its transaction
        reading.session.outside = None
    elif (
        verb not in HARMLESS
        and token.kind not in {TokenKind.NUMBER, TokenKind.STRING}
        and not (reading.session.in_body and _assigns(cursor))
    ):
        raise UnknownFormError


def _assigns(cursor: Cursor) -> bool:
    """Return whether a body's statement is an assignment: `x[1] := ...`, `$1 := ...`. It has no two words before its sign."""
    target = cursor.rest()[: max(cursor.find(":=", "="), 0)]
    return bool(target) and not any(one.kind is other.kind is TokenKind.WORD for one, other in pairwise(target))


def _explain(reading: ParseContext, cursor: Cursor) -> None:
    """Read the rest of an EXPLAIN statement: with ANALYZE the statement behind it is run."""
    options = {token.upper for token in cursor.skip_parens()}
    while word := cursor.take_any({"ANALYZE", "ANALYSE", "VERBOSE"}):
        options.add(word)
    if options & {"ANALYZE", "ANALYSE"}:
        _read(reading, cursor)


def _query(reading: ParseContext, cursor: Cursor) -> None:
    if cursor.next().upper == "WITH" and cursor.find("PROCEDURE") > 0:
        dynamic_sql.run_block(reading, cursor)
        return
    tokens = cursor.rest()
    for at, token in enumerate(tokens[:6]):
        # `SELECT set_config('search_path', '...', false)`, as pg_dump writes it
        if token.upper == "SET_CONFIG" and len(tokens) > at + 4 and tokens[at + 2].text == "search_path":
            settings.set_value(
                reading, Cursor([tokens[at + 2]._replace(upper="SEARCH_PATH"), *tokens[at + 4 : at + 5]])
            )
    dynamic_sql.query_sets(reading, tokens)
    if reading.dialect.select_into and (reading.dialect.batches or not reading.session.in_body):
        objects.select_into(reading, cursor)


_RULES: Final[Mapping[str, Rule]] = {
    **objects.RULES,
    **settings.RULES,
    **dynamic_sql.RULES,
    "ALTER": alter,
    "EXPLAIN": _explain,
}
"""The rule of each first word."""
