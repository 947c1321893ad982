"""What the rules write down while one text is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from orchestrator.changes.change_set import Change, ChangeSet, Effect, NotUnderstood, ObjectName, shorten
from orchestrator.changes.cursor import Cursor
from orchestrator.changes.known import Known
from orchestrator.changes.lexer import Lexer, Token
from orchestrator.changes.names import NamePart, read_name
from orchestrator.changes.notices import ReaderWarnings
from orchestrator.changes.placeholders import MARK
from orchestrator.changes.session import Session

MAX_DEPTH: Final = 12
"""SQL in a string in SQL in a string: deeper than this it counts as not understood."""


class ParseContext:
    """One text being read: what was found, and the session that it runs in."""

    def __init__(self, session: Session, *, source: str, known: Known, notices: ReaderWarnings) -> None:
        """Nothing has been found. `known` and `notices` are shared with the other files."""
        self.session = session
        self.known = known
        self.notices = notices
        self.dialect = session.dialect
        self.source = source
        self.depth = 0
        self.line = 1
        self.text = ""
        """The statement that is being read, as it is written."""
        self.changes: list[Change] = []
        self.not_understood: dict[tuple[int, str], NotUnderstood] = {}
        """What was not understood, by its line and text: each place once."""
        self.schemas: set[str | None] = set()
        self.tables: set[str | None] = set()
        """The schemas and the tables that the text has spoken of so far."""
        self.run_length = 0
        """How much of routines' bodies was read for calls of them, in characters."""
        self.is_quoted = False
        """Whether the SQL being read is an argument of a function: what it holds in place of a name is that function's own."""
        self.run_text: Callable[[str, int, bool], None] = _unset
        """Reads SQL that runs at once: its text, its first line, whether it is a block of the procedural language."""
        self.lexer = Lexer("", session.dialect, source=source)
        self._found: dict[ObjectName, tuple[Effect, list[str]]] = {}

    def touch(self, name: ObjectName, effect: Effect, reason: str) -> None:
        """Writes down that the present statement touches `name`; several times means the strongest effect, all reasons."""
        known = self._found.get(name)
        if known is None:
            self._found[name] = (effect, [reason])
            return
        strongest = Effect.DESTRUCTIVE if Effect.DESTRUCTIVE in {effect, known[0]} else Effect.ADDITIVE
        self._found[name] = (strongest, known[1] if reason in known[1] else [*known[1], reason])

    def touch_table(self, parts: tuple[NamePart, ...], effect: Effect, reason: str) -> ObjectName | None:
        """Writes down a table that is written so, if it is not a temporary one; the answer is its full name."""
        if self.session.is_temporary(parts):
            return None
        name = self.session.table(parts)
        self.touch(name, effect, reason)
        return name

    def touch_referred(self, tokens: Sequence[Token]) -> None:
        """Record the tables that foreign keys in a definition refer to: relationships to them come or go."""
        for at, token in enumerate(tokens):
            if token.upper == "REFERENCES":
                parts = read_name(Cursor(tokens, at + 1), self.dialect)
                if parts is not None:
                    self.touch_table(parts, Effect.ADDITIVE, "a foreign key refers to it")

    def touch_heirs(self, name: ObjectName, effect: Effect, reason: str, *, partitions_only: bool = False) -> None:
        """Record what happens to a table's partitions, and to the tables that inherit from it. There may be others."""
        for heir in self.known.heirs(name, partitions_only=partitions_only):
            self.touch(heir, effect, f"is a part of {name}: {reason}")
        if name in self.known.partitioned:
            self.notices.add(
                "what happens to a partitioned table happens to all of its partitions; only those that the given SQL creates "
                "are known",
                self.place(),
            )

    def touch_dependents(self, dropped: ObjectName) -> None:
        """Record what CASCADE takes along: the views that are known to read what is dropped. Others may go as well."""
        if not self.dialect.views_depend:
            return
        for view in self.known.dependents(dropped):
            self.touch(view, Effect.DESTRUCTIVE, f"goes with {dropped}, which it reads")
        self.notices.add(
            "CASCADE also drops the views and foreign keys that depend on what is dropped; of these, only views that the given "
            "SQL creates are known",
            self.place(),
        )

    def widen(self, reason: str, *, text: str = "", line: int = 0) -> None:
        """Writes down that the present statement may touch anything."""
        lost = NotUnderstood(
            source=self.source,
            line=line or self.line,
            text=shorten((text or self.text).replace(MARK, "...")),
            reason=reason,
        )
        self.not_understood.setdefault((lost.line, lost.text), lost)

    def place(self) -> str:
        """The present statement, as a warning names it."""
        return f"{self.source}:{self.line} ({shorten(self.text)})"

    def begin(self, line: int, text: str) -> tuple[int, str, dict[ObjectName, tuple[Effect, list[str]]]]:
        """Begins a statement, maybe within another; the answer is for `finish`."""
        outer = (self.line, self.text, self._found)
        self.line, self.text, self._found = line, text, {}
        return outer

    def finish(self, outer: tuple[int, str, dict[ObjectName, tuple[Effect, list[str]]]]) -> None:
        """Ends a statement: what it touched is listed."""
        for name, (effect, reasons) in self._found.items():
            self.schemas.add(name.schema)
            self.tables.add(name.table)
            self.changes.append(
                Change(name=name, effect=effect, source=self.source, line=self.line, reason="; ".join(reasons))
            )
        self.line, self.text, self._found = outer

    def result(self) -> ChangeSet:
        """All that was found."""
        return ChangeSet(changes=tuple(self.changes), not_understood=tuple(self.not_understood.values()))


def _unset(*_: object) -> None:
    raise AssertionError("a reading is wired by its reader")
