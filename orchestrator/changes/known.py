"""What the given files show of the database: which tables hang on which, which views read what, which schemas and routines there are."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.changes.change_set import ObjectName
from orchestrator.changes.cursor import Cursor
from orchestrator.changes.lexer import TokenKind, tokens_of
from orchestrator.changes.names import read_name
from orchestrator.changes.session import Routine, Session


class Known:
    """Shared by all files of one reading. It only ever grows: the order of the files may not be the order in which they ran."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._children: dict[ObjectName, dict[ObjectName, bool]] = {}
        self._views: list[tuple[ObjectName, str, Session, str | None, str | None]] = []
        self._readers: dict[ObjectName, list[ObjectName]] = {}
        self.partitioned: set[ObjectName] = set()
        """PostgreSQL's tables that have partitions."""
        self.evolving: set[ObjectName] = set()
        """Snowflake's tables to which a load may add columns."""
        self.routines: dict[str, Routine | None] = {}
        """The routines that some file defines, by their names without schemas, in lower case; None if the body is not SQL."""

    def add_child(self, parent: ObjectName, child: ObjectName, *, is_partition: bool) -> None:
        """Record a partition, or a table that inherits."""
        self._children.setdefault(parent, {})[child] = is_partition

    def heirs(self, parent: ObjectName, *, partitions_only: bool = False) -> list[ObjectName]:
        """Return the partitions of a table and the tables that inherit from it, those of its children among them."""
        found: dict[ObjectName, None] = {}
        waiting = [parent]
        while waiting:
            for child, is_partition in self._children.get(waiting.pop(), {}).items():
                if child not in found and child != parent and (is_partition or not partitions_only):
                    found[child] = None
                    waiting.append(child)
        return list(found)

    def rename(self, old: ObjectName, new: ObjectName) -> None:
        """Record that a table has another name from here on."""
        if old in self._children:
            self._children.setdefault(new, {}).update(self._children[old])
        for children in self._children.values():
            if old in children:
                children[new] = children[old]

    def add_view(self, view: ObjectName, text: str, session: Session) -> None:
        """Record a view by the statement that creates it; its text is read only if something that it reads is dropped."""
        self._views.append((view, text, session, session.catalog, session.schema))

    def dependents(self, dropped: ObjectName) -> list[ObjectName]:
        """Return the known views that read a table, a view or a whole schema, and those that read these."""
        for view, text, session, catalog, schema in self._views:
            for name in _names_in(text, session, catalog, schema):
                self._readers.setdefault(name, []).append(view)
                self._readers.setdefault(name._replace(table=None), []).append(view)
        self._views.clear()
        found: dict[ObjectName, None] = {}
        waiting = [dropped]
        while waiting:
            for view in self._readers.get(waiting.pop(), ()):
                if view not in found and view != dropped:
                    found[view] = None
                    waiting.append(view)
        return list(found)


def _names_in(text: str, session: Session, catalog: str | None, schema: str | None) -> Iterator[ObjectName]:
    """Everything in a view's query that may be the name of a table."""
    cursor = Cursor(tokens_of(text, session.dialect))
    begin = cursor.find("AS")
    cursor.at = max(begin, 0)
    with session.apart():
        session.move(catalog, schema)
        while not cursor.done():
            before = cursor.at
            parts = (
                read_name(cursor, session.dialect) if cursor.peek().kind in {TokenKind.WORD, TokenKind.QUOTED} else None
            )
            if parts is not None and not any(part.placeholder for part in parts):
                yield session.table(parts)
            if cursor.at == before:
                cursor.next()
