"""Column types: read them from a table's definition, and decide whether a new type keeps every value of the old one."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from orchestrator.changes.change_set import Effect
from orchestrator.changes.dialects import Dialect
from orchestrator.changes.lexer import NOTHING, Cursor, TokenKind, split_commas, tokens_of, words

MAX_DEFINITION: Final = 200_000
"""Longer definitions of tables are not read for their columns' types, in characters."""


class _Type(NamedTuple):
    sort: str
    sizes: tuple[int, ...]
    values: frozenset[str]
    """Those of a type that lists its values."""


_AFTER_TYPE: Final = words("""
    USING COLLATE NOT NULL DEFAULT COMMENT AFTER FIRST CONSTRAINT CHARACTER CHARSET AUTO_INCREMENT AUTOINCREMENT PRIMARY UNIQUE KEY CHECK
    REFERENCES GENERATED AS WITH SPARSE MASKED ENCRYPTED CASCADE RESTRICT ON INVISIBLE VISIBLE IDENTITY ENCODE ENABLE TAG MASKING OPTIONS
    DISTKEY SORTKEY STORAGE
""")
_INTEGERS: Final = ("TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT")
_UNSIGNED: Final = tuple(f"{each} UNSIGNED" for each in _INTEGERS)
_FLOATS: Final = ("FLOAT", "DOUBLE")
_TEXTS: Final = ("CHAR", "NCHAR", "VARCHAR", "NVARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT")
_LISTS: Final = frozenset({"ENUM", "SET"})
_SYNONYMS: Final = {
    "TINYINT": ("BYTE", "INT1"),
    "SMALLINT": ("SHORT", "INT2", "SMALLSERIAL"),
    "INT": ("INTEGER", "INT4", "SERIAL", "SIGNED"),
    "BIGINT": ("LONG", "INT8", "INT64", "BIGSERIAL", "BYTEINT"),
    **{f"{each} UNSIGNED": (f"U{each}",) for each in ("TINYINT", "SMALLINT", "BIGINT")},
    "INT UNSIGNED": ("UINTEGER",),
    "FLOAT": ("REAL", "FLOAT4"),
    "DOUBLE": ("DOUBLE PRECISION", "FLOAT8", "FLOAT64"),
    "DECIMAL": ("NUMERIC", "DEC", "NUMBER", "FIXED"),
    "CHAR": ("CHARACTER", "BPCHAR"),
    "VARCHAR": ("CHARACTER VARYING", "CHAR VARYING", "STRING"),
    "NVARCHAR": ("NATIONAL CHARACTER VARYING",),
    "BOOLEAN": ("BOOL",),
    "TIMESTAMP WITH TIME ZONE": ("TIMESTAMPTZ",),
    "TIMESTAMP": ("TIMESTAMP WITHOUT TIME ZONE",),
}
_ALSO: Final = {name: sort for sort, names in _SYNONYMS.items() for name in names}
_BUILT_IN: Final = words("""
    BOOLEAN DATE TIME DATETIME DATETIME2 SMALLDATETIME DATETIMEOFFSET TIMESTAMP INTERVAL YEAR DECIMAL MONEY BIT UUID UNIQUEIDENTIFIER JSON JSONB
    XML BYTEA BYTES BLOB BINARY VARBINARY INET CIDR VARIANT OBJECT HUGEINT BIGNUMERIC NTEXT
""") | {"TIMESTAMP WITH TIME ZONE", *_INTEGERS, *_UNSIGNED, *_FLOATS, *_TEXTS, *_LISTS}
"""Types that no statement can redefine. A user-defined type can change under its name: `ALTER TYPE t RENAME`."""
_DOUBLES: Final = {("FLOAT", "postgres"), ("FLOAT", "tsql"), ("REAL", "mysql")}
"""Types that are DOUBLE in one dialect."""
_WIDEST: Final = {
    "bigquery": ".*",  # SET DATA TYPE allows only wider types
    "databricks": "BIGINT|DOUBLE",  # Delta's type widening
    "snowflake": r"(?:VARCHAR|TEXT)(?: 16777216| 134217728)?|DECIMAL 38(?: \d+)?",  # a text stays one, and gets no shorter
}
"""Types that keep every value of the column, whatever its type was before."""
_MAX: Final = 2**31 - 1
"""The length of `varchar(max)`."""
_NO_LIMIT: Final = frozenset({"postgres", "snowflake", "duckdb", "databricks"})
"""The dialects whose VARCHAR without a length takes any text; elsewhere it may mean a single letter."""
_WRITTEN: Final = re.compile(
    r"([A-Z][\w ]*?) ?(?:\( ?([^()]*?) ?\))? ?((?:UNSIGNED|ZEROFILL|SIGNED|WITH|WITHOUT|TIME|ZONE| )*)"
)
_VALUE: Final = re.compile(r"'(?:[^']|'')*'")


class Columns:
    """The columns of one table: as they were created, and as they were changed since."""

    def __init__(self, text: str, dialect: Dialect) -> None:
        """`text` is the statement that creates the table."""
        self._text = text
        self._dialect = dialect
        self._given: dict[str, tuple[str, str]] = {}

    @cached_property
    def _defined(self) -> dict[str, tuple[str, str]]:
        """The name and the type of each column, as they are written, by the name in lower case."""
        cursor = Cursor(tokens_of(self._text, self._dialect) if len(self._text) <= MAX_DEFINITION else ())
        if not cursor.take_to("(", "AS") or cursor.tokens[cursor.at - 1].upper == "AS":
            return {}
        cursor.at -= 1
        return {
            column[0].text.lower(): (column[0].text, written_type(Cursor(column, 1)))
            for column in split_commas(cursor.skip_parens())
            if column and column[0].kind in {TokenKind.WORD, TokenKind.QUOTED, TokenKind.STRING}
        }

    def type_of(self, name: str) -> str:
        """Return the type that the column has now, as it is written; an empty string if that is not known.

        MySQL finds a column in any spelling, and a statement that gives it a type gives it this spelling as well. The type
        of a column that has another spelling counts as not known.
        """
        key = name.lower()
        spelling, written = self._given.get(key) or self._defined.get(key, (name, ""))
        return "" if self._dialect.name == "mysql" and spelling != name else written

    def mentions(self, word: str) -> bool:
        """Return whether the table's definition or a column that was added later contains the word."""
        texts = (self._text, *(written for _, written in self._given.values()))
        return any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for text in texts)

    def give(self, name: str, written: str) -> None:
        """Record a column's new type; an empty one means that it is not known."""
        self._given[name.lower()] = (name, written)

    def rename(self, old: str, new: str) -> None:
        """Record a column's new name."""
        written = self.type_of(old)
        self.give(old, "")
        self.give(new, written)


def written_type(cursor: Cursor) -> str:
    """Return the type that comes next, in plain words: `VARCHAR ( 50 )`; an empty string if it is no plain type."""
    written: list[str] = []
    depth = 0
    for token, following in pairwise([*cursor.rest(), NOTHING]):
        is_zone = token.upper in {"WITH", "WITHOUT"} and following.upper in {"TIME", "LOCAL"}
        if written and not depth and token.upper in _AFTER_TYPE and not is_zone:
            break
        if token.kind is TokenKind.QUOTED:
            return ""
        depth += (token.upper == "(") - (token.upper == ")")
        written.append("'" + token.text.replace("'", "''") + "'" if token.kind is TokenKind.STRING else token.text)
    return " ".join(written)


def compare_types(before: str, after: str, dialect: Dialect) -> Effect | None:
    """Return what a change of type does to a column, as far as that is known; None if the type stays the same.

    It is additive if nothing that the column held can be lost and the column stays of its sort. An empty text is a type that is not
    known.
    """
    new = _parse(after, dialect.name)
    if new is None:
        return Effect.DESTRUCTIVE
    old = _parse(before, dialect.name)
    if old is not None:
        if old == new and (new.sort in _BUILT_IN or dialect.name == "mysql"):
            return None
        return Effect.ADDITIVE if _wider(old, new, dialect.name) else Effect.DESTRUCTIVE
    key = " ".join([new.sort, *map(str, new.sizes)])
    return Effect.ADDITIVE if re.fullmatch(_WIDEST.get(dialect.name, "(?!)"), key) else Effect.DESTRUCTIVE


def _parse(written: str, dialect: str) -> _Type | None:
    if not written:
        return None
    upper = _VALUE.sub("?", written).upper()
    found = _WRITTEN.fullmatch(upper)
    if found is None:
        return _Type(upper, (), frozenset(_VALUE.findall(written)))
    named, inside, behind = found[1], found[2] or "", found[3].split()
    sort = " ".join([named, *(each for each in behind if each not in {"ZEROFILL", "SIGNED"})])
    sort = "DOUBLE" if (named, dialect) in _DOUBLES else _ALSO.get(sort, sort)
    sizes = tuple(_MAX if size == "MAX" else int(size) for size in re.findall(r"\d+|MAX", inside))
    if sort in {*_INTEGERS, *_UNSIGNED, *_FLOATS}:
        sizes = ()  # a width for display
    elif sort == "DECIMAL" and sizes:
        sizes = (sizes[0], sizes[1] if len(sizes) > 1 else 0)
    return _Type(sort, sizes, frozenset(_VALUE.findall(written)))


def _wider(old: _Type, new: _Type, dialect: str) -> bool:
    for ladder in (_INTEGERS, _UNSIGNED, _FLOATS):
        if old.sort in ladder:
            return new.sort in ladder and ladder.index(new.sort) >= ladder.index(old.sort)
    if old.sort in _TEXTS and new.sort in _TEXTS:
        return _longer(old, new, dialect)
    if old.sort == new.sort == "DECIMAL" and old.sizes and new.sizes:  # as many digits before the point, and after it
        (digits, scale), (new_digits, new_scale) = old.sizes, new.sizes
        return new_scale >= scale and new_digits - new_scale >= digits - scale
    return old.sort == new.sort and old.sort in _LISTS and old.values <= new.values


def _longer(old: _Type, new: _Type, dialect: str) -> bool:
    """Return whether a text may be at least as long, and is not padded if it was not."""
    if "CHAR" in {new.sort, new.sort.removeprefix("N")} and new.sort != old.sort:
        return False
    if old.sort.startswith("N") and not new.sort.startswith("N") and new.sort != "TEXT":
        return False
    if not new.sizes:
        is_boundless = new.sort in {"TEXT", "LONGTEXT"}
        return is_boundless or (new.sort == old.sort and (not old.sizes or dialect in _NO_LIMIT))
    return bool(old.sizes) and new.sizes[0] >= old.sizes[0]
