"""Errors of reading changes: each names the file, the line if there is one, and what to do.

UsageError                          2   orchestrator.errors
└── ChangesError                    2   a file, a folder or a name cannot be read
    └── TemplatedError              2   the SQL holds a placeholder whose value is not known

`UnknownFormError` and `UnknownNameError` stop the reading of one statement. They never leave this package.
"""

from __future__ import annotations

import re

from orchestrator.changes.tool_text import PLACEHOLDER
from orchestrator.errors import UsageError
from orchestrator.text import clean


class ChangesError(UsageError):
    """What was given cannot be read; nothing was sent."""

    def __init__(self, message: str, *, source: str = "", line: int = 0, code: str) -> None:
        """The text becomes `SOURCE:LINE: message`; `line` counts from 1, and 0 leaves it out."""
        where = f"{source}:{line}: " if source and line else f"{source}: " if source else ""
        super().__init__(clean(where + message), code=code)
        self.source = source
        self.line = line


class TemplatedError(ChangesError):
    """The SQL has a placeholder without a value: the statement that will run is not in the file."""

    def __init__(self, placeholder: str, *, source: str, line: int) -> None:
        """The message names the placeholder and says how to fill it."""
        self.placeholder = placeholder
        shown = " ".join(placeholder.split())[:60]
        inner = PLACEHOLDER.search(shown)
        simple = re.fullmatch(r"[^\w\s]+\s*([^\W\d][\w.\-]*)\s*(?:[^\w\s]*|\)[sd])", inner[0] if inner else shown)
        name = simple[1] if simple else "'" + shown + "'"
        is_template = placeholder.startswith(("{{", "{%", "{#", "<%"))
        compiled = "give the compiled SQL (dbt: target/run), or --dbt-target for what dbt built"
        instead = compiled if is_template else "give the SQL as it is run"
        advice = instead if is_template and not simple else f"fill it with --set {name}=VALUE, or {instead}"
        message = f"a placeholder ({shown}) has no known value; {advice}"
        super().__init__(message, source=source, line=line, code="unfilled-placeholder")


class UnknownFormError(Exception):
    """A statement has a form that is not known: it may touch anything."""


def require(is_known: object) -> None:
    """Raise `UnknownFormError` if something that a known form has is missing."""
    if not is_known:
        raise UnknownFormError


class UnknownNameError(Exception):
    """A part of a name is a placeholder, or is known only at run time."""

    def __init__(self, placeholder: str, at: int) -> None:
        """`at` is the placeholder's position in the text; -1 if that is not known."""
        super().__init__(placeholder)
        self.placeholder = placeholder
        self.at = at
