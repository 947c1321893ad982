"""The vendors' own routines that change tables: SQL Server's system procedures and PostGIS's functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from orchestrator.changes.change_set import Effect
from orchestrator.changes.context import ParseContext
from orchestrator.changes.cursor import Cursor, split_commas, words
from orchestrator.changes.errors import UnknownFormError
from orchestrator.changes.keywords import GEOMETRY
from orchestrator.changes.lexer import Token, TokenKind
from orchestrator.changes.literals import named_argument
from orchestrator.changes.names import NamePart, parse_name

_CHANGE_NOTHING: Final = tuple(
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
"""How the names of system procedures begin that change no table."""
Arguments = dict[str, str | None]
"""The arguments of a call, by their names in lower case or their numbers from 1; None for one that is no literal."""


def system_procedure(reading: ParseContext, parts: tuple[NamePart, ...], cursor: Cursor) -> bool:
    """Read a call of one of SQL Server's system procedures; False if it is none that is known."""
    name = parts[-1].text.lower()
    arguments = _arguments(cursor.rest())
    old, new = _argument(arguments, "1", "@objname", "@dbname"), _argument(arguments, "2", "@newname", "@newowner")
    kind = (_argument(arguments, "3", "@objtype") or "").upper()
    match name:
        case "sp_rename" if kind in {"INDEX", "USERDATATYPE", "STATISTICS"}:
            return True
        case "sp_rename" if kind != "DATABASE":
            _rename(reading, _parsed(reading, old), new, kind)
        case "sp_rename" | "sp_renamedb":
            for text in (old, new):
                database = reading.session.catalog_name(_parsed(reading, text))
                reading.touch(database, Effect.DESTRUCTIVE, "renames the database")
        case "sp_changeobjectowner":
            before = reading.session.table(_parsed(reading, old))
            if not new:
                raise UnknownFormError
            reading.touch_renamed(before, before._replace(schema=new), what="moves it to")
        case "sp_refreshview" | "sp_refreshsqlmodule":
            view = _parsed(reading, _argument(arguments, "1", "@viewname", "@name"))
            if reading.session.stored(view[-1]).lower() not in reading.known.routines:
                reading.touch_table(view, Effect.DESTRUCTIVE, "reads the view's columns anew")
        case _:
            if len(parts) > 2 and parts[-3].text.lower() == "msdb":
                return True  # jobs, mail and backups
            own = len(parts) == 1 or parts[-2].text.lower() in {"sys", "dbo", "", "msdb"}
            return own and name.startswith(_CHANGE_NOTHING)
    return True


def _arguments(tokens: Sequence[Token]) -> Arguments:
    found: Arguments = {}
    for number, argument in enumerate(split_commas(tokens), start=1):
        name, value = named_argument(argument)
        found[name or str(number)] = value[0].text if value and value[0].kind is not TokenKind.VARIABLE else None
    return found


def _argument(arguments: Arguments, *keys: str) -> str | None:
    return next((arguments[key] for key in keys if key in arguments), "")


def _parsed(reading: ParseContext, text: str | None) -> tuple[NamePart, ...]:
    """Return the name that an argument holds. Raises `UnknownFormError` if it holds none."""
    parts = parse_name(text, reading.dialect) if text else None
    if parts is None:
        raise UnknownFormError
    return parts


def _rename(reading: ParseContext, parts: tuple[NamePart, ...], new: str | None, kind: str) -> None:
    if not new or (kind == "COLUMN" and len(parts) < 2):
        raise UnknownFormError
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
    # The new name is taken letter by letter: dots and brackets in it become part of it.
    reading.touch_renamed(before, before._replace(table=new))


def _is_schema(reading: ParseContext, part: NamePart) -> bool:
    """Return whether the text shows that this is a schema: `s.t` without a type is else a column of a table."""
    session = reading.session
    name = session.stored(part)
    if name.lower() in {"", "dbo", (session.schema or "").lower(), *reading.known.schemas}:
        return True
    written = rf"\[?{re.escape(name)}\]?"
    used = rf"\bSCHEMA\s+{written}(?!\w)|\b(?:TABLE|VIEW|FROM|JOIN|INTO|UPDATE|REFERENCES)\s+{written}\s*\."
    return name.lower() not in reading.known.tables and re.search(used, reading.whole_text, re.IGNORECASE) is not None


def geometry(reading: ParseContext, name: str, arguments: Sequence[Sequence[Token]]) -> None:
    """Read a function of PostGIS that alters or drops a table: `(catalog, schema, table, column, ...)`, the first two optional."""
    effect, reason, behind = GEOMETRY[name]
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
    else:
        table = tuple(NamePart(text, quoted=True) for text in place if text)
        reading.touch_table(table, effect, reason)
        if effect is Effect.DESTRUCTIVE and behind:
            reading.lose_column(table, tuple(NamePart(text, quoted=True) for text in texts[-1:]), reason)
