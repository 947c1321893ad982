"""What migration tools write around SQL: which part of a file takes a migration back, and what ends a statement."""

from __future__ import annotations

import re
from typing import Final

_UNDO: Final = re.compile(
    r"^[ \t]*(?:"
    r"--[ \t]*migrate:down\b"  # dbmate
    r"|--[ \t]*\+(?:goose|migrate|micrate)[ \t]+down\b"
    r"|(?:--|\#)[ \t]*(?:---)?[ \t]*!Downs\b"  # Play evolutions
    r"|--[ \t]*(?://)?[ \t]*@UNDO\b"  # MyBatis, dbdeploy
    r"|--[ \t]*rambler[ \t]+down\b"
    r"|--[ \t]*down[ \t]+migration\b"  # node-pg-migrate
    r"|----[ \t]*create above[ \t]*/[ \t]*drop below[ \t]*----"  # tern
    r").*$",
    re.IGNORECASE | re.MULTILINE,
)
_DO: Final = re.compile(
    r"^[ \t]*(?:--[ \t]*migrate:up\b|--[ \t]*\+(?:goose|migrate|micrate)[ \t]+up\b|(?:--|\#)[ \t]*(?:---)?[ \t]*!Ups\b"
    r"|--[ \t]*rambler[ \t]+up\b|--[ \t]*up[ \t]+migration\b).*$",
    re.IGNORECASE | re.MULTILINE,
)
_BARE_UP: Final = re.compile(r"^[ \t]*--[ \t]*up[ \t]*$", re.IGNORECASE | re.MULTILINE)
_BARE_DOWN: Final = re.compile(r"^[ \t]*--[ \t]*down[ \t]*$", re.IGNORECASE | re.MULTILINE)
_NOTEBOOK_CELL: Final = re.compile(r"^-- COMMAND -{5,}[ \t]*$", re.MULTILINE)
_ATLAS: Final = re.compile(r"^--[ \t]*atlas:delimiter[ \t]+(.+)$", re.MULTILINE)
_CHANGESET: Final = re.compile(r"^[ \t]*--[ \t]*changeset[ \t][^\n]*$", re.IGNORECASE | re.MULTILINE)
_SQLCMD: Final = re.compile(
    r"^[ \t]*:setvar[ \t]+(?P<name>\w+)[ \t]+(?:\"(?P<quoted>[^\"\n]*)\"|(?P<bare>[^\s\"]+))[^\n]*$|\$\((?P<used>\w+)\)",
    re.IGNORECASE | re.MULTILINE,
)
_END_DELIMITER: Final = re.compile(r"endDelimiter:\"?([^\s\"]+)", re.IGNORECASE)


def forward_only(text: str) -> str:
    """The text without what takes its migration back, and with each tool's own separators as ones that every client knows.

    Lines stay where they are: what is left out leaves empty lines. Understood are the marks of dbmate, goose, sql-migrate, micrate,
    Play, MyBatis, rambler, node-pg-migrate, tern, Atlas, Liquibase's formatted SQL and Databricks notebooks; what Liquibase
    rolls back stands in comments already. Variables that sqlcmd is told to set are set.
    """
    text = _without_undo(text)
    if "-- COMMAND" in text:
        text = _NOTEBOOK_CELL.sub(";", text)
    if "atlas:delimiter" in text:
        text = _atlas(text)
    if "endDelimiter" in text:
        text = _CHANGESET.sub(_delimited, text)
    return _with_variables(text) if ":setvar" in text.lower() else text


def _with_variables(text: str) -> str:
    """Variables of sqlcmd that the text sets itself, each put in its place."""
    known: dict[str, str] = {}

    def put(match: re.Match[str]) -> str:
        if match["used"] is not None:
            return known.get(match["used"].lower(), match[0])
        known[match["name"].lower()] = match["quoted"] if match["quoted"] is not None else match["bare"]
        return ""

    return _SQLCMD.sub(put, text)


def _without_undo(text: str) -> str:
    undo = list(_UNDO.finditer(text))
    up = _BARE_UP.search(text)
    if not undo and up is not None:
        undo = [down for down in _BARE_DOWN.finditer(text) if down.start() > up.start()]
    kept, here = [], 0
    for mark in undo:
        if mark.start() < here:
            continue
        again = _DO.search(text, mark.end())
        end = again.start() if again else len(text)
        kept += [text[here : mark.start()], "\n" * text.count("\n", mark.start(), end)]
        here = end
    return "".join([*kept, text[here:]])


def _atlas(text: str) -> str:
    mark = _ATLAS.search(text)
    if mark is None:
        return text
    delimiter = mark[1].strip().replace("\\n", "\n").replace("\\r", "").replace("\\t", "\t")
    before, after = text[: mark.start()], text[mark.end() :]
    if not delimiter.strip():
        return before + after.replace(delimiter, ";" + delimiter)
    if delimiter.startswith("--"):
        return before + after.replace(delimiter, ";")
    return f"{before}DELIMITER {delimiter}{after}"


def _delimited(changeset: re.Match[str]) -> str:
    """A line that says what ends the statements of one Liquibase change set; a slash and GO end them anyway, in lines of their own."""
    named = _END_DELIMITER.search(changeset[0])
    if named is None or named[1].upper().removeprefix("\\N") in {"/", "GO", ";"} or "\\" in named[1]:
        return "DELIMITER ;"
    return f"DELIMITER {named[1]}"
