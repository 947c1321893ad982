"""The door to sqlglot, an extra of this program: nothing else imports it, and it is imported when SQL is read."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Final

from orchestrator.changes.errors import MissingExtraError

if TYPE_CHECKING:
    from sqlglot import exp

MAX_PARSED: Final = 50_000
"""Longer statements are not parsed, in characters: the rules of this room have read their heads."""
MAX_NESTED: Final = 60
"""Deeper parentheses are not parsed: the parser goes down by recursion."""


def require() -> None:
    """Raises `MissingExtraError` if sqlglot is not installed."""
    try:
        import_module("sqlglot")
    except ImportError as missing:
        raise MissingExtraError(
            'reading SQL needs sqlglot, which is not installed; pip install "omni-refresh[ddl]"'
        ) from missing


def parse(text: str, dialect: str) -> exp.Expr | None:
    """The statement as sqlglot understands it; None where it does not, or only as words that it passes through."""
    if len(text) > MAX_PARSED or _nested(text) > MAX_NESTED:
        return None
    from sqlglot import errors, exp, parse_one

    quiet = logging.getLogger("sqlglot")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        found = parse_one(text, read=dialect)
    except (errors.SqlglotError, RecursionError, ValueError, LookupError, TypeError, AttributeError):
        return None
    finally:
        quiet.setLevel(level)
    return None if isinstance(found, exp.Command) else found


def parse_type(text: str, dialect: str) -> exp.DataType | None:
    """The data type that `text` spells; None if it spells none that is known."""
    from sqlglot import errors, exp

    try:
        built = exp.DataType.build(text, dialect=dialect)
    except (errors.SqlglotError, RecursionError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return built


def _nested(text: str) -> int:
    depth = deepest = 0
    for char in text:
        if char == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif char == ")":
            depth -= 1
    return deepest
