"""The system procedures of SQL Server: those that rename and move, and those that change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.changes.change_set import Effect
from orchestrator.changes.cursor import Cursor, split_commas
from orchestrator.changes.lexer import Token, TokenKind
from orchestrator.changes.names import NamePart, parse_name
from orchestrator.changes.reading import ParseContext

_CHANGE_NOTHING: Final = (
    *("sp_help", "sp_addrole", "sp_droprole", "sp_adduser", "sp_dropuser", "sp_addlogin", "sp_droplogin", "sp_grant"),
    *("sp_revoke", "sp_addextendedproperty", "sp_updateextendedproperty", "sp_dropextendedproperty", "sp_configure"),
    *("sp_updatestats", "sp_createstats", "sp_autostats", "sp_recompile", "sp_tableoption", "sp_who", "sp_spaceused"),
    *("sp_lock", "sp_getapplock", "sp_releaseapplock", "sp_addmessage", "sp_dropmessage", "sp_addlinkedserver"),
    *("sp_dropserver", "sp_serveroption", "sp_addlinkedsrvlogin", "sp_droplinkedsrvlogin", "sp_set_session_context"),
    *("sp_columns", "sp_tables", "sp_databases", "sp_depends", "sp_fulltext", "sp_settriggerorder", "sp_dboption"),
    *(
        "sp_changedbowner",
        "sp_bind",
        "sp_unbind",
        "sp_cdc_",
        "sp_query_store",
        "sp_xml_",
        "sp_oa",
        "sp_trace",
        "sp_cycle",
    ),
    *("sp_add_job", "sp_update_job", "sp_delete_job", "sp_start_job", "sp_stop_job", "sp_add_schedule", "sp_attach"),
    *("sp_delete_schedule", "sp_add_category", "sp_addsrvrolemember", "sp_dropsrvrolemember", "sp_change_users_login"),
    *(
        "sp_describe",
        "sp_estimate",
        "sp_indexoption",
        "sp_dbcmptlevel",
        "sp_control_plan",
        "sp_create_plan",
        "sp_reset",
    ),
    *("sp_send_dbmail", "sp_addtype", "sp_droptype", "sp_defaultdb", "sp_password", "sp_db_", "sp_flush", "xp_"),
    *("sp_execute_external_script", "sp_validname", "sp_sequence_get_range", "sp_testlinkedserver", "sp_monitor"),
)
_OTHER_THINGS: Final = frozenset({"INDEX", "USERDATATYPE", "STATISTICS"})


def system_procedure(reading: ParseContext, parts: tuple[NamePart, ...], cursor: Cursor) -> bool | None:
    """Reads a call of a system procedure; None if it is none that is known."""
    name = parts[-1].text.lower()
    arguments = _arguments(cursor.rest())
    if name == "sp_rename":
        return _rename(reading, arguments)
    if name == "sp_renamedb":
        return _rename_database(reading, arguments)
    if name == "sp_changeobjectowner":
        return _change_owner(reading, arguments)
    if name in {"sp_refreshview", "sp_refreshsqlmodule"}:
        return _refresh(reading, arguments)
    if len(parts) > 2 and parts[-3].text.lower() == "msdb":
        return True  # jobs, mail and backups
    own = len(parts) == 1 or parts[-2].text.lower() in {"sys", "dbo", "", "msdb"}
    return True if own and name.startswith(_CHANGE_NOTHING) else None


def _arguments(tokens: Sequence[Token]) -> dict[str, str | None]:
    """The arguments by their names in lower case, or by their numbers from 1; None for one that is no literal."""
    found: dict[str, str | None] = {}
    for number, argument in enumerate(split_commas(tokens), start=1):
        cursor = Cursor(argument)
        key = str(number)
        if cursor.peek().kind is TokenKind.VARIABLE and cursor.peek(1).upper == "=":
            key = cursor.next().text.lower()
            cursor.next()
        value = cursor.next()
        known = value.kind in {TokenKind.STRING, TokenKind.WORD, TokenKind.QUOTED, TokenKind.NUMBER}
        found[key] = value.text if known else None
    return found


def _argument(arguments: dict[str, str | None], *keys: str) -> str | None:
    return next((arguments[key] for key in keys if key in arguments), "")


def _rename(reading: ParseContext, arguments: dict[str, str | None]) -> bool:
    kind = (_argument(arguments, "3", "@objtype") or "").upper()
    if kind in _OTHER_THINGS:
        return True
    old, new = _argument(arguments, "1", "@objname"), _argument(arguments, "2", "@newname")
    if kind == "DATABASE":
        return _rename_database(reading, arguments)
    parts = parse_name(old, reading.dialect) if old else None
    if parts is None or not new:
        return False
    is_column = kind == "COLUMN" or (not kind and len(parts) > 1 and _may_be_column(reading, parts))
    if is_column:
        if len(parts) < 2:
            return False
        reading.touch_table(parts[:-1], Effect.DESTRUCTIVE, "renames a column")
        if kind or not _may_be_table(reading, parts):
            return True
    before = reading.session.table(parts)
    # The new name is taken letter by letter: dots and brackets in it become part of it.
    after = before._replace(table=new)
    reading.touch(before, Effect.DESTRUCTIVE, f"renames it to {after}")
    reading.touch(after, Effect.DESTRUCTIVE, f"was {before}")
    return True


def _may_be_column(reading: ParseContext, parts: tuple[NamePart, ...]) -> bool:
    """Whether what sp_rename is given without a type may be a column of a table: `t.c` where `t` is no schema that is known."""
    session = reading.session
    if len(parts) > 2:
        return session.stored(parts[-3]) != session.catalog
    schema = session.stored(parts[0])
    return schema.lower() not in {"", "dbo", (session.schema or "").lower()} and schema not in reading.schemas


def _may_be_table(reading: ParseContext, parts: tuple[NamePart, ...]) -> bool:
    """Whether it may be a table as well: `s.t` where the text knows no table `s`. A table of another database it cannot be."""
    return len(parts) == 2 and reading.session.stored(parts[0]) not in reading.tables


def _rename_database(reading: ParseContext, arguments: dict[str, str | None]) -> bool:
    for key in (("1", "@dbname", "@objname"), ("2", "@newname")):
        text = _argument(arguments, *key)
        parts = parse_name(text, reading.dialect) if text else None
        if parts is None:
            return False
        reading.touch(reading.session.catalog_name(parts), Effect.DESTRUCTIVE, "renames the database")
    return True


def _change_owner(reading: ParseContext, arguments: dict[str, str | None]) -> bool:
    old, owner = _argument(arguments, "1", "@objname"), _argument(arguments, "2", "@newowner")
    parts = parse_name(old, reading.dialect) if old else None
    if parts is None or not owner:
        return False
    before = reading.session.table(parts)
    reading.touch(before, Effect.DESTRUCTIVE, f"moves it to {owner}")
    reading.touch(before._replace(schema=owner), Effect.DESTRUCTIVE, f"was {before}")
    return True


def _refresh(reading: ParseContext, arguments: dict[str, str | None]) -> bool:
    text = _argument(arguments, "1", "@viewname", "@name")
    parts = parse_name(text, reading.dialect) if text else None
    if parts is None:
        return False
    if reading.session.stored(parts[-1]).lower() not in reading.known.routines:
        reading.touch_table(parts, Effect.DESTRUCTIVE, "reads the view's columns anew")
    return True
