"""One clause of ALTER TABLE, with all that a rule needs to read it."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.changes.change_set import Effect
from orchestrator.changes.cursor import Cursor
from orchestrator.changes.names import NamePart
from orchestrator.changes.reading import ParseContext

Found = tuple[Effect, str] | None
"""What a clause does to its table, and why; None where no model sees it, or where the rule has written it down."""


class Clause(NamedTuple):
    """The cursor stands behind the clause's first word."""

    reading: ParseContext
    cursor: Cursor
    table: tuple[NamePart, ...]
