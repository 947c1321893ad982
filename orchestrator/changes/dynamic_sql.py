"""SQL in strings and routines that runs immediately: DO, EXECUTE, EXEC, PREPARE, CALL, and functions in queries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from orchestrator.changes.change_set import Effect, ObjectName
from orchestrator.changes.context import ParseContext, Rule
from orchestrator.changes.errors import UnknownFormError, require
from orchestrator.changes.keywords import is_kind
from orchestrator.changes.lexer import NOTHING, Cursor, Token, TokenKind, split_commas, words
from orchestrator.changes.literals import literal_sql, named_argument, remember_all
from orchestrator.changes.session import NamePart, Routine, SqlName, parse_name, read_name
from orchestrator.changes.tool_text import MARK

_BODIES: Final = words("BEGIN CREATE ALTER DROP RENAME CALL EXEC IF")
_NOT_SQL: Final = words("TASK ALERT AS SERVICE JOB NOTEBOOK STREAMLIT PROJECT")
_VENDORS: Final = words("bq sys mysql system information_schema aws_commons snowflake")
"""Schemas of built-in procedures, which change no user table."""
_CHANGE_NOTHING: Final = words("""
    refresh_continuous_aggregate run_job compress_chunk decompress_chunk recompress_chunk move_chunk convert_to_columnstore
    convert_to_rowstore add_columnstore_policy remove_columnstore_policy
""")
"""Procedures of TimescaleDB."""
COMPOSED: Final = "runs SQL that is built at run time"
_DDL: Final = re.compile(
    r"\s*+(?:CREATE|ALTER|DROP|RENAME|UNDROP|EXCHANGE)\s++(?:OR\s++\w++\s++)?(\w++)\s++\S", re.IGNORECASE
)
"""The beginning of a DDL statement in a string argument. The group is the kind of object."""
_BUILT_IN: Final = words("""
    IN VALUES ANY ALL SOME EXISTS AND OR NOT ON WHEN THEN ELSE AS BY WHERE SELECT FROM JOIN HAVING LIMIT OVER FILTER INTERVAL ARRAY ROW
    CAST CONCAT CONCAT_WS FORMAT COALESCE NULLIF IF IFNULL IIF NVL ISNULL DECODE LOWER UPPER INITCAP LENGTH CHAR_LENGTH LEN REPLACE
    REGEXP_REPLACE REGEXP_MATCHES REGEXP_LIKE SUBSTRING SUBSTR LEFT RIGHT POSITION STRPOS INSTR CHARINDEX TRIM BTRIM LTRIM RTRIM MD5 SHA1
    SHA2 SHA256 QUOTE_LITERAL QUOTE_NULLABLE QUOTE STRING_AGG GROUP_CONCAT TO_TSVECTOR TO_TSQUERY PLAINTO_TSQUERY TO_JSON TO_JSONB
    JSON_BUILD_OBJECT JSONB_BUILD_OBJECT JSON_OBJECT JSON_BUILD_ARRAY JSONB_BUILD_ARRAY TO_CHAR PG_NOTIFY STARTS_WITH LIKE GREATEST LEAST
    SPLIT_PART STRING_TO_ARRAY UNNEST CONVERT TRANSLATE REVERSE REPEAT LPAD RPAD NVL2 MAX MIN COUNT SCHEDULE RAISE_APPLICATION_ERROR VALUE
    JSON_ARRAY PARSE_JSON OBJECT_CONSTRUCT ARRAY_CONSTRUCT STRUCT NAMED_STRUCT MAP
""")
"""Functions, and keywords before a parenthesis, that do not run their arguments as SQL. `cron.schedule` runs them later."""
_SYSTEM_PROCEDURES: Final = tuple(
    words("""
    sp_help sp_addrole sp_droprole sp_adduser sp_dropuser sp_addlogin sp_droplogin sp_grant sp_revoke sp_addextendedproperty
    sp_updateextendedproperty sp_dropextendedproperty sp_configure sp_updatestats sp_createstats sp_autostats sp_recompile
    sp_tableoption sp_who sp_spaceused sp_lock sp_getapplock sp_releaseapplock sp_addmessage sp_dropmessage sp_addlinkedserver
    sp_dropserver sp_serveroption sp_addlinkedsrvlogin sp_droplinkedsrvlogin sp_set_session_context sp_columns sp_tables
    sp_databases sp_depends sp_fulltext sp_settriggerorder sp_dboption sp_changedbowner sp_bind sp_unbind sp_cdc_ sp_query_store
    sp_xml_ sp_oa sp_trace sp_cycle sp_add_job sp_update_job sp_delete_job sp_start_job sp_stop_job sp_add_schedule sp_attach
    sp_delete_schedule sp_add_category sp_addsrvrolemember sp_dropsrvrolemember sp_change_users_login sp_describe sp_estimate
    sp_indexoption sp_dbcmptlevel sp_control_plan sp_create_plan sp_reset sp_send_dbmail sp_addtype sp_droptype sp_defaultdb
    sp_password sp_db_ sp_flush xp_ sp_execute_external_script sp_validname sp_sequence_get_range sp_testlinkedserver sp_monitor
""")
)
"""Prefixes of system procedures that change no table."""
_ARGUMENTS: Final = {
    **dict.fromkeys(words("@objname @dbname @viewname @name"), 1),
    **dict.fromkeys(words("@newname @newowner"), 2),
    "@objtype": 3,
}
"""The positions of their named arguments, from 1."""
_GEOMETRY: Final = re.compile("(ADD|DROP|UPDATE)(?:TOPO)?(?:GEOMETRY|RASTER)(COLUMN|TABLE|SRID)")
"""PostGIS functions that alter or drop a table."""
MAX_CALLS: Final = 200
"""The largest number of calls that are read in one statement."""


def _do_block(reading: ParseContext, cursor: Cursor) -> None:
    """Read the rest of a DO statement: a block of PostgreSQL, or an expression of MySQL."""
    if cursor.peek().kind is TokenKind.STRING or cursor.word == "LANGUAGE":
        run_block(reading, cursor)
    else:
        require(reading.session.in_body or reading.dialect.name == "mysql")


def run_block(reading: ParseContext, cursor: Cursor) -> None:
    """Read a block in a string that runs immediately, as in DO and Snowflake's `WITH p AS PROCEDURE ... CALL p()`"""
    for before, token in pairwise([NOTHING, *cursor.rest()]):
        if token.kind is TokenKind.STRING and before.upper != "LANGUAGE" and _is_sql(cursor):
            reading.run_text(token.text, reading.lexer.line(token.body), in_body=True)
            return
    raise UnknownFormError


def _execute(reading: ParseContext, cursor: Cursor) -> None:
    if cursor.word in _NOT_SQL and cursor.peek(1).kind is not TokenKind.END:
        return
    if cursor.take("IMMEDIATE") or (reading.session.in_body and reading.dialect.name not in {"mysql", "tsql"}):
        _run_expression(reading, cursor.until("USING", "INTO", "LOOP"))
    elif reading.dialect.batches and cursor.word == "(":
        # If QUOTED_IDENTIFIER is off, a string may be in double quotes; a name is not possible here
        strings = [each._replace(kind=TokenKind.STRING) if each.quote == '"' else each for each in cursor.skip_parens()]
        with reading.session.apart():
            _run_expression(reading, strings)
    elif reading.dialect.batches:
        if cursor.peek().kind is TokenKind.VARIABLE and cursor.peek(1).upper == "=":
            cursor.at += 2  # `@result =`
        procedure(reading, cursor)
    else:
        ways = reading.session.prepared.get(cursor.next().text.lower(), () if reading.dialect.select_into else None)
        if ways is None:
            raise UnknownFormError
        _run_arguments(reading, split_commas(cursor.skip_parens()))
        _run_ways(reading, ways, reading.line)


def _run_expression(reading: ParseContext, tokens: Sequence[Token]) -> None:
    line = reading.lexer.line(tokens[0].body or tokens[0].start) if tokens else reading.line
    _run_ways(reading, literal_sql(tokens, reading.session), line)


def _run_ways(reading: ParseContext, ways: tuple[str, ...], line: int) -> None:
    """Read each text that may run. An unknown piece is `MARK`; a statement is read as far as its known beginning allows."""
    for way in ways:
        if not way.replace(MARK, "").strip():
            reading.widen(COMPOSED)
        else:
            reading.run_text(way, line)


def procedure(reading: ParseContext, cursor: Cursor) -> None:
    """Read a procedure call of T-SQL: a system procedure, or one that the given SQL defines."""
    parts = reading.name(cursor)
    with reading.session.apart():
        if len(parts) > 2 and parts[-3].text:  # another database's: it works there
            reading.session.move(reading.session.stored(parts[-3]), None)
        if parts[-1].text.lower() == "sp_executesql":
            _run_expression(reading, named_argument(cursor.until(","))[1])
            return
        if _system_procedure(reading, parts, cursor):
            return
    require(run_routine(reading, reading.session.stored(parts[-1]).lower(), split_commas(cursor.rest())))


def remember_routine(reading: ParseContext, cursor: Cursor, kind: str) -> None:
    """Record a routine's body: the given SQL may call it later."""
    parts = read_name(cursor, reading.dialect)
    if parts is None or parts[-1].placeholder:
        return
    name = reading.session.stored(parts[-1]).lower()
    if kind in {"PROCEDURE", "PROC", "FUNCTION"}:
        reading.known.routines[name] = _routine(reading, cursor) or reading.known.routines.get(name)


def _routine(reading: ParseContext, cursor: Cursor) -> Routine | None:
    """Return a routine's parameters and body; None if the body cannot be read."""
    listed: Sequence[Token] = ()
    if cursor.word == "(":
        listed = cursor.skip_parens()
    elif cursor.peek().kind is TokenKind.VARIABLE and cursor.find("AS", "RETURNS", "BEGIN") > 0:
        listed = cursor.until("AS", "RETURNS", "BEGIN")  # T-SQL
    parameters = tuple(
        next((one.text.lower() for one in each if one.upper not in words("IN OUT INOUT VARIADIC")), "")
        for each in split_commas(listed)
    )
    body = _body(cursor.rest())
    if not body or not _is_sql(cursor):
        return None
    is_string = body[0].kind is TokenKind.STRING
    text = body[0].text if is_string else reading.lexer.text[body[0].start : body[-1].end]
    return Routine(text, reading.lexer.line(body[0].body or body[0].start), parameters, reading.source)


def _is_sql(cursor: Cursor) -> bool:
    """Return whether the language of the routine is SQL or PL/pgSQL."""
    languages = {other.text.upper() for one, other in pairwise(cursor.rest()) if one.upper == "LANGUAGE"}
    return languages <= {"SQL", "PLPGSQL"}


def _body(tokens: Sequence[Token]) -> Sequence[Token]:
    """Return the body of a routine: a string, or the tokens from its first statement on."""
    before = NOTHING
    for at, token in enumerate(tokens):
        if token.upper in _BODIES:
            return tokens[at:]
        # `EXECUTE AS user` and `@parameter AS type` begin no body
        if token.upper in {"AS", "IS"} and before.upper != "EXECUTE" and before.kind is not TokenKind.VARIABLE:
            is_string = at + 1 < len(tokens) and tokens[at + 1].kind is TokenKind.STRING
            return tokens[at + 1 : at + 2] if is_string else tokens[at + 1 :]
        before = token
    return ()


def run_routine(reading: ParseContext, name: str, arguments: Sequence[Sequence[Token]]) -> bool:
    """Read the body of a routine that this text or an earlier file defines, with its arguments filled in.

    All of it that is not understood counts once, at the call. Without a known body, read the SQL in the arguments. Return False if
    there is neither.
    """
    session = reading.session
    routine = reading.known.routines.get(name)
    if routine is None:
        return _run_arguments(reading, arguments)
    if name in session.running:
        return True
    bound: dict[str, tuple[str, ...]] = {}  # by each parameter's name and number
    for number, argument in enumerate(arguments):
        given, value = named_argument(argument)
        parameter = given or "".join(routine.parameters[number : number + 1])
        bound[parameter] = bound[f"${number + 1}"] = literal_sql(value, session)
    key = (routine, session.catalog, session.schema, *sorted(bound.items()))
    if key not in reading.ran:
        outside = (reading.changes, reading.not_understood, session.variables)
        reading.changes, reading.not_understood, session.variables = [], {}, session.variables | bound
        session.running.add(name)
        reading.run_text(routine.text, routine.line, in_body=True)
        session.running.discard(name)
        reading.ran[key] = reading.changes, list(reading.not_understood.values())
        reading.changes, reading.not_understood, session.variables = outside
    changes, lost = reading.ran[key]
    reading.budget -= 50 * len(changes)
    reading.changes += dict.fromkeys(replace(change, line=reading.line) for change in changes)
    if lost and not _run_arguments(reading, arguments):
        where = f"line {lost[0].line}" if routine.source == reading.source else "body in another file"
        reading.widen(f"calls a routine, whose {where} is not understood: {lost[0].reason}")
    return True


def _run_arguments(reading: ParseContext, arguments: Sequence[Sequence[Token]]) -> bool:
    """Read the SQL in string arguments. Return False if there is none."""
    ran = False
    for argument in arguments:
        value = named_argument(argument)[1]
        if not any(token.kind is TokenKind.STRING for token in value):
            continue
        for way in literal_sql(value, reading.session):
            found = _DDL.match(way)
            if found is not None and is_kind(found[1].upper()):
                ran, outer, reading.is_quoted = True, reading.is_quoted, True
                reading.run_text(way, reading.lexer.line(value[0].start))
                reading.is_quoted = outer
    return ran


def _call(reading: ParseContext, cursor: Cursor) -> None:
    if reading.dialect.name == "duckdb":  # table functions of its own
        return
    parts = reading.name(cursor)
    name = reading.session.stored(parts[-1]).lower()
    if parts[0].text.lower() in _VENDORS or name.startswith("system$") or name in _CHANGE_NOTHING:
        return
    require(run_routine(reading, name, split_commas(cursor.skip_parens())))


def _prepare(reading: ParseContext, cursor: Cursor) -> None:
    """Read the rest of a PREPARE statement: MySQL takes any SQL from a string, the others only queries and data."""
    name = cursor.next().text.lower()
    if cursor.take("FROM"):
        reading.session.prepared[name] = literal_sql(cursor.rest(), reading.session)
    else:
        reading.session.prepared[name] = ()
        calls_of(reading, cursor.rest())


def calls_of(reading: ParseContext, tokens: Sequence[Token]) -> None:
    """Read what the called functions run: routines of the given SQL, and SQL in string arguments of other functions."""
    calls = 0
    has_sql = any(token.kind is TokenKind.STRING and _DDL.match(token.text) for token in tokens)
    for at, (token, following) in enumerate(pairwise(tokens)):
        if following.upper != "(" or token.kind not in {TokenKind.WORD, TokenKind.QUOTED}:
            continue
        name = token.text.lower()
        geometry = _GEOMETRY.fullmatch(token.upper)
        is_read = geometry is not None or (has_sql and token.upper not in _BUILT_IN)
        if not is_read and not reading.known.routines.get(name):
            continue
        calls += 1
        if calls > MAX_CALLS:
            reading.widen("calls more functions than are read in one statement")
            return
        arguments = split_commas(Cursor(tokens, at + 1).skip_parens())
        if geometry:
            _geometry(reading, geometry, arguments)
        else:
            run_routine(reading, name, arguments)


def query_sets(reading: ParseContext, tokens: Sequence[Token]) -> None:
    """Record the variables that a query sets: `SELECT @a = '...'`, `SELECT '...' INTO @a`, `SELECT @a := '...'`."""
    cursor = Cursor(tokens)
    if cursor.peek().kind is TokenKind.VARIABLE and cursor.peek(1).upper in {"=", ":=", "+="}:
        remember_all(reading.session, tokens)
        return
    value = cursor.until("FROM", "INTO")
    if cursor.take_to("INTO") and value:
        cursor.take("STRICT")
        target = cursor.next()
        if target.kind is TokenKind.VARIABLE or (reading.session.in_body and target.kind is TokenKind.WORD):
            reading.session.variables[target.text.lower()] = literal_sql(value, reading.session)


def _system_procedure(reading: ParseContext, parts: SqlName, cursor: Cursor) -> bool:
    """Read a call of a system procedure of SQL Server. Return False if it is not a known one."""
    name = parts[-1].text.lower()
    given: dict[int, str] = {}
    for number, argument in enumerate(split_commas(cursor.rest()), start=1):
        key, value = named_argument(argument)
        is_known = bool(value) and value[0].kind is not TokenKind.VARIABLE
        given[_ARGUMENTS.get(key, number)] = value[0].text if is_known else ""
    old, new, kind = given.get(1, ""), given.get(2, ""), given.get(3, "").upper()
    match name:
        case "sp_rename" if kind in {"INDEX", "USERDATATYPE", "STATISTICS"}:
            return True
        case "sp_rename" if kind != "DATABASE":
            _sp_rename(reading, _parsed(reading, old), new, kind)
        case "sp_rename" | "sp_renamedb":
            for text in (old, new):
                database = ObjectName(reading.session.stored(_parsed(reading, text)[-1]), None, None)
                reading.touch(database, Effect.DESTRUCTIVE, "renames the database")
        case "sp_changeobjectowner":
            before = reading.session.table(_parsed(reading, old))
            require(new)
            reading.touch_renamed(before, before._replace(schema=new), what="moves it to")
        case "sp_refreshview" | "sp_refreshsqlmodule":
            view = _parsed(reading, old)
            if reading.session.stored(view[-1]).lower() not in reading.known.routines:
                reading.touch_table(view, Effect.DESTRUCTIVE, "reads the view's columns again")
        case _:
            if len(parts) > 2 and parts[-3].text.lower() == "msdb":
                return True  # jobs, mail and backups
            own = len(parts) == 1 or parts[-2].text.lower() in {"sys", "dbo", "", "msdb"}
            return own and name.startswith(_SYSTEM_PROCEDURES)
    return True


def _parsed(reading: ParseContext, text: str) -> SqlName:
    """Parse an argument as a name. Raises `UnknownFormError` if it is not one."""
    parts = parse_name(text, reading.dialect)
    if parts is None:
        raise UnknownFormError
    return parts


def _sp_rename(reading: ParseContext, parts: SqlName, new: str, kind: str) -> None:
    require(new and (kind != "COLUMN" or len(parts) > 1))
    if kind == "COLUMN" or (not kind and len(parts) > 1 and not _is_schema(reading, parts[-2])):
        reason = "renames a column"
        reading.touch_table(parts[:-1], Effect.DESTRUCTIVE, reason)
        reading.lose_column(parts[:-1], parts[-1:], reason)
        if not kind:
            reading.warn(
                "sp_rename without a type was read as renaming a column; if it renames a table of a schema, add its type"
            )
        return
    before = reading.session.table(parts)
    # SQL Server takes the new name literally, dots and brackets included.
    reading.touch_renamed(before, before._replace(table=new))


def _is_schema(reading: ParseContext, part: NamePart) -> bool:
    """Return whether the text uses this name as a schema. Otherwise `s.t` without a type is a column of a table."""
    session = reading.session
    name = session.stored(part)
    schemas = {each.schema.lower() for each in reading.known.touched if each.schema}
    if name.lower() in {"", "dbo", (session.schema or "").lower(), *schemas}:
        return True
    written = rf"\[?{re.escape(name)}\]?"
    used = rf"\bSCHEMA\s+{written}(?!\w)|\b(?:TABLE|VIEW|FROM|JOIN|INTO|UPDATE|REFERENCES)\s+{written}\s*\."
    is_table = any((each.table or "").lower() == name.lower() for each in reading.known.touched)
    return not is_table and re.search(used, reading.file_text, re.IGNORECASE) is not None


def _geometry(reading: ParseContext, function: re.Match[str], arguments: Sequence[Sequence[Token]]) -> None:
    """Read a function of PostGIS that alters or drops a table: `(catalog, schema, table, column, ...)`, the first two optional."""
    verb, what = function.groups()
    effect = Effect.DESTRUCTIVE if verb == "DROP" else Effect.ADDITIVE
    reason = f"{verb.lower()}s {'the table' if what == 'TABLE' else 'a column'}"
    texts: list[str] = []
    # AddTopoGeometryColumn has the topology before the schema, and the type after the column.
    for argument in arguments[1:4] if function[0] == "ADDTOPOGEOMETRYCOLUMN" else arguments:
        if len(argument) not in {1, 3} or argument[0].kind is not TokenKind.STRING:  # `'x'` or `'x'::name`
            break
        texts.append(argument[0].text)
    place = texts if what == "TABLE" else texts[:-1]
    table = tuple(NamePart(text, quoted=True) for text in place[-3:] if text)
    if not table:
        reading.widen(f"{reason} of a table that is not known")
        return
    reading.touch_table(table, effect, reason)
    if reason == "drops a column":
        reading.lose_column(table, (NamePart(texts[-1], quoted=True),), reason)


RULES: Final[Mapping[str, Rule]] = {
    "CALL": _call,
    "PREPARE": _prepare,
    **dict.fromkeys(("EXECUTE", "EXEC"), _execute),
    "DO": _do_block,
}
