"""What was touched, how, and where it is written; and the warnings of one reading."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from orchestrator.text import and_more, clean

MAX_TEXT: Final = 200
"""How much of a statement that was not understood is shown, in characters."""
MAX_PLACES: Final = 5
"""How many places a warning shows."""


class Effect(StrEnum):
    """Whether something may be gone afterwards. This decides between a soft and a hard refresh."""

    ADDITIVE = "additive"
    DESTRUCTIVE = "destructive"


class ObjectName(NamedTuple):
    """A table, a schema or a catalog, as the warehouse stores its name. A part that is None is not known or not given.

    | catalog | schema | table | it is | rendered |
    |---|---|---|---|---|
    | None or c | s | t | a table or view | `s.t`, `c.s.t` |
    | None or c | s | None | a whole schema | `s.*`, `c.s.*` |
    | None or c | None | t | a table whose schema is not known | `?.t`, `c.?.t` |
    | c | None | None | a whole catalog (database) | `c.*.*` |

    An ambiguous part (empty, `*`, `?`, or with a dot or a double quote) is rendered in double quotes, with those inside doubled:
    `s."odd.name"`. The tuple holds it without quotes.
    """

    catalog: str | None
    schema: str | None
    table: str | None

    def __str__(self) -> str:
        """Return the parts joined by dots, as the table above says."""
        catalog, schema, table = self
        is_catalog = catalog is not None and schema is None and table is None
        no_schema = "*" if is_catalog else "?"
        shown = [] if catalog is None else [_part(catalog)]
        return ".".join(
            [*shown, no_schema if schema is None else _part(schema), "*" if table is None else _part(table)]
        )


def _part(part: str) -> str:
    if part in {"", "*", "?"} or "." in part or '"' in part:
        return '"' + part.replace('"', '""') + '"'
    return part


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that one statement, node or line touched."""

    name: ObjectName
    effect: Effect
    source: str
    """The file as it was given, `<stdin>`, or the option that named it."""
    line: int
    """Where the statement begins, from 1; 0 if the source has no lines."""
    reason: str
    columns: tuple[str, ...] = ()
    """The columns that are gone under their former names, because the statement drops or renames them; empty if it names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotUnderstood:
    """A statement that may change anything: it counts as touching everything, destructively."""

    source: str
    line: int
    text: str
    """The statement's beginning, on one line."""
    reason: str = ""
    """Why it could not be read, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRefreshed:
    """A dbt node that this invocation selected and did not build."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """Everything that migrations, a dbt invocation and lists of names touched, in the order in which it was read."""

    changes: tuple[Change, ...] = ()
    not_understood: tuple[NotUnderstood, ...] = ()
    not_refreshed: tuple[NotRefreshed, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, list[dict[str, object]]]:
        """Return the document that `omni-refresh changes --json` prints, as plain values."""
        return {
            "changes": [
                {
                    "name": clean(str(change.name)),
                    "effect": change.effect.value,
                    "source": clean(change.source),
                    "line": change.line,
                    "reason": clean(change.reason),
                    **({"columns": [clean(column) for column in change.columns]} if change.columns else {}),
                }
                for change in self.changes
            ],
            "not_understood": [
                {"source": clean(each.source), "line": each.line, "text": each.text} for each in self.not_understood
            ],
            "not_refreshed": [{"node": clean(each.node), "reason": clean(each.reason)} for each in self.not_refreshed],
        }


def merge(*sets: ChangeSet) -> ChangeSet:
    """Return one change set with all that the given ones hold; a warning that several of them give appears once."""
    return ChangeSet(
        changes=tuple(change for each in sets for change in each.changes),
        not_understood=tuple(item for each in sets for item in each.not_understood),
        not_refreshed=tuple(item for each in sets for item in each.not_refreshed),
        warnings=tuple(dict.fromkeys(warning for each in sets for warning in each.warnings)),
    )


def shorten(text: str) -> str:
    """Return the text on one line, at most `MAX_TEXT` characters of it."""
    line = clean(" ".join(text[: 4 * MAX_TEXT].split()))
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


class ReaderWarnings:
    """Collects the warnings of one reading: each kind once, with the places that it is about."""

    def __init__(self) -> None:
        """Begin without a warning."""
        self._places: dict[str, list[str]] = {}

    def add(self, what: str, place: str = "") -> None:
        """Record a warning, or another place of it."""
        places = self._places.setdefault(what, [])
        if place and place not in places[-MAX_PLACES:]:
            places.append(place)

    def render(self) -> tuple[str, ...]:
        """Return a line for each kind: what it is, then the first places, then how many more there are."""
        return tuple(
            clean(f"{what}: {and_more(places[:MAX_PLACES], len(places), separator='; ')}" if places else what)
            for what, places in self._places.items()
        )
