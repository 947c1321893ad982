"""Changes and concerns for tests: `+finance.invoices` was added, `-finance.invoices` may be gone."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.changes.change_set import Change, ChangeSet, Effect, NotUnderstood
from orchestrator.changes.files import parse_listed
from orchestrator.manifest.manifest import Entry, Mode
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.impact import find_impacts
from orchestrator.planning.plan import Impact
from tests.planning.targets import entry

SIGNS = {"+": Effect.ADDITIVE, "-": Effect.DESTRUCTIVE}


def change(text: str, line: int = 1) -> Change:
    """A sign and a name: `schema`, `schema.table`, `?.table`, `catalog.schema.table`, `catalog.*.*`."""
    return Change(name=parse_listed(text[1:]), effect=SIGNS[text[0]], source="V1__x.sql", line=line, reason="because")


def touched(*changes: str, unclear: int = 0, new: Sequence[str] = ()) -> FollowedChange:
    """What these changes affect, one a line, and this many statements that were not understood; `new` schemas may have been created."""
    lost = tuple(NotUnderstood(source="V2__y.sql", line=n + 1, text="FROBNICATE") for n in range(unclear))
    found = tuple(change(text, line) for line, text in enumerate(changes, 1))
    return FollowedChange(changes=ChangeSet(changes=found, not_understood=lost), may_be_new=frozenset(new))


def reader(
    *reads: str,
    index: int = 0,
    mode: Mode | None = None,
    schemas: Sequence[str] = (),
    tables: Sequence[str] = (),
    connection: str | None = None,
    enabled: bool = True,
) -> Entry:
    """Return an entry with these `reads`, or none; `mode` is the entry's own."""
    plain = entry(index, schemas=tuple(schemas), tables=tuple(tables), connection=connection, enabled=enabled)
    pinned = replace(plain, mode=mode, mode_pinned=True) if mode is not None else plain
    return replace(pinned, reads=reads or None)


def concern_of(of: Entry, what: FollowedChange, *, listed: Sequence[str] | None = None, failed: bool = False) -> Impact:
    """Return the impact on one entry. `listed` are the instance's schemas; `failed` means that they could not be read."""
    asked = {of.index: None if listed is None else tuple(listed)} if failed or listed is not None else {}
    (one,) = find_impacts([of], what, schemas=asked)
    return one


def scope_of(one: Impact) -> tuple[str, list[str], list[str]]:
    """Return mode, schemas and tables of what an entry gets; `skip` if it gets nothing."""
    return "skip" if one.is_skipped else one.entry.mode.value, list(one.entry.schemas), list(one.entry.tables)
