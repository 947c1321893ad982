"""Whether a column's new type holds all that its old one did, and is of the same sort: then nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.changes.grammar import parse, parse_type

if TYPE_CHECKING:
    from sqlglot import exp

    from orchestrator.changes.session import Definition

_INTEGERS: Final = ("TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT")
_UNSIGNED: Final = ("UTINYINT", "USMALLINT", "UMEDIUMINT", "UINT", "UBIGINT")
_FLOATS: Final = ("FLOAT", "DOUBLE")
_TEXTS: Final = ("CHAR", "NCHAR", "VARCHAR", "NVARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT")
_LISTS: Final = frozenset({"ENUM", "SET"})
"""Types that list their values."""
_BOUNDLESS: Final = {"snowflake": 16_777_216}
"""How long a text may be at most, where a length above it means no limit."""
_NO_LIMIT: Final = frozenset({"postgres", "snowflake", "duckdb", "databricks"})
"""Where VARCHAR without a length takes any text; elsewhere it may mean a single letter."""
_ONLY_WIDER: Final = {"databricks": frozenset({"BIGINT", "DOUBLE"})}
"""Types that a column can only be widened to: the warehouse refuses every other change that would end in them."""


def old_type(definition: Definition, column: str, dialect: str) -> exp.DataType | None:
    """The type that the column was given last; None if that is not known."""
    if (written := definition.retyped.get(column.lower())) is not None:
        return parse_type(written, dialect) if written else None
    tree = parse(definition.text, dialect)
    if tree is None:
        return None
    from sqlglot import exp

    for each in tree.find_all(exp.ColumnDef):
        kind = each.args.get("kind")
        if each.name.lower() == column.lower() and isinstance(kind, exp.DataType):
            return kind
    return None


def widens(before: exp.DataType | None, after: str, dialect: str) -> bool:
    """Whether nothing that the column held can be lost, as far as it is known; in doubt, no.

    BigQuery's SET DATA TYPE allows nothing but wider types. Delta's type widening, and Snowflake's rule that a text stays a text and
    is not made shorter, tell the same of the widest types.
    """
    new = parse_type(after, dialect)
    if new is None:
        return False
    if before is not None:
        return _wider(before, new, dialect)
    if dialect == "bigquery":
        return True
    if dialect == "snowflake":
        return _widest_in_snowflake(new)
    return _sort(new) in _ONLY_WIDER.get(dialect, frozenset())


def _sort(data_type: exp.DataType) -> str:
    return str(data_type.this.name)


def _sizes(data_type: exp.DataType) -> list[int]:
    sizes = [str(each.name) for each in data_type.expressions]
    return [int(size) for size in sizes if size.isdigit()]


def _widest_in_snowflake(new: exp.DataType) -> bool:
    sizes = _sizes(new)
    if _sort(new) in _TEXTS:
        return _sort(new) in {"VARCHAR", "TEXT"} and (not sizes or sizes[0] >= _BOUNDLESS["snowflake"])
    return _sort(new) == "DECIMAL" and sizes[:1] == [38]


def _wider(old: exp.DataType, new: exp.DataType, dialect: str) -> bool:
    for ladder in (_INTEGERS, _UNSIGNED, _FLOATS):
        if _sort(old) in ladder:
            return _sort(new) in ladder and ladder.index(_sort(new)) >= ladder.index(_sort(old))
    if _sort(old) in _TEXTS and _sort(new) in _TEXTS:
        return _longer(old, new, dialect)
    if _sort(old) == "DECIMAL" and _sort(new) == "DECIMAL":
        return _more_digits(_sizes(old), _sizes(new))
    if _sort(old) == _sort(new) and _sort(old) in _LISTS:
        return {each.name for each in old.expressions} <= {each.name for each in new.expressions}
    return old == new


def _longer(old: exp.DataType, new: exp.DataType, dialect: str) -> bool:
    """A text that may be at least as long, and is not padded where it was not."""
    if "CHAR" in {_sort(new), _sort(new).removeprefix("N")} and _sort(new) != _sort(old):
        return False
    if _sort(old).startswith("N") and not _sort(new).startswith("N") and _sort(new) != "TEXT":
        return False
    limits = [_sizes(old), _sizes(new)]
    if not limits[1]:
        return _sort(new) in {"TEXT", "LONGTEXT"} or (
            _sort(new) == _sort(old) and (not limits[0] or dialect in _NO_LIMIT)
        )
    return bool(limits[0]) and limits[1][0] >= limits[0][0]


def _more_digits(old: list[int], new: list[int]) -> bool:
    """As many digits before the point, and after it."""
    if not old or not new:
        return old == new
    scale, wanted = (old[1] if len(old) > 1 else 0), (new[1] if len(new) > 1 else 0)
    return wanted >= scale and new[0] - wanted >= old[0] - scale
