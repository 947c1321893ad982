"""For any change and manifest: no affected entry is left out, and nothing that was added is missed.

What a scope finds is not this program's own idea: the simulated instance reads its warehouse with it.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from hypothesis import given, note, settings
from hypothesis import strategies as st

from orchestrator.changes.change_set import Change, ChangeSet, Effect, NotUnderstood, ObjectName
from orchestrator.manifest.manifest import Entry, Mode
from orchestrator.planning.followed_change import FollowedChange, change_as_data, change_from_data
from orchestrator.planning.impact import find_impacts, must_ask
from orchestrator.simulator.population import Connection
from orchestrator.simulator.world import read_warehouse
from tests.planning.changing import reader

DATABASE = "wh"
TABLES: tuple[str, ...] = ("a", "b", "led_1", "led_2", "fin")
WAREHOUSE = dict.fromkeys(("fin", "fin_eu", "hr", "led"), TABLES)
SPEC = Connection(database=DATABASE, schemas=WAREHOUSE)
OBJECTS = [(schema, table) for schema, tables in WAREHOUSE.items() for table in tables]

PART = st.sampled_from(["fin", "FIN", "fin_eu", "hr", "led", "fin*", "*", "f?n"])
TABLE = st.sampled_from(["a", "A", "b", "led_1", "led_*", "fin", "*", "led_?"])
SCHEMA_TEXT = st.one_of(PART, PART.map(lambda s: f"{DATABASE}.{s}"))
TABLE_TEXT = st.one_of(
    TABLE, st.tuples(PART, TABLE).map(".".join), st.tuples(PART, TABLE).map(lambda p: f"wh.{p[0]}.{p[1]}")
)
READS = st.one_of(PART, st.tuples(PART, TABLE).map(".".join), st.tuples(PART, TABLE).map(lambda p: f"wh.{p[0]}.{p[1]}"))
NAMES = st.builds(
    ObjectName,
    st.sampled_from([None, DATABASE, "WH"]),
    st.sampled_from([None, "fin", "FIN", "fin_eu", "hr", "led", "f*"]),
    st.sampled_from([None, "a", "A", "b", "led_1", "LED_2", "fin", "led_*"]),
).filter(any)
CHANGES = st.builds(
    lambda name, effect, line: Change(name=name, effect=effect, source="V1.sql", line=line, reason="r"),
    NAMES,
    st.sampled_from([Effect.ADDITIVE, Effect.ADDITIVE, Effect.ADDITIVE, Effect.DESTRUCTIVE]),
    st.integers(1, 99),
)
WORDS = st.sampled_from([None, None, Mode.SOFT])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """An entry of any kind: reads, scopes, both or neither; its own mode or none."""
    reads = draw(st.one_of(st.just([]), st.lists(READS, min_size=1, max_size=3)))
    schemas = draw(st.lists(SCHEMA_TEXT, max_size=2, unique=True))
    tables = draw(st.lists(TABLE_TEXT, max_size=2, unique=True))
    mode = draw(WORDS if schemas or tables else st.one_of(WORDS, st.just(Mode.HARD)))
    return reader(*reads, schemas=schemas, tables=tables, mode=mode)


def _fits(part: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(part.lower(), pattern.lower())


def objects_of(name: ObjectName) -> Iterator[tuple[str, str]]:
    """Return the tables of the warehouse that a change of this name affects."""
    if _fits(DATABASE, name.catalog):
        yield from (o for o in OBJECTS if _fits(o[0], name.schema) and _fits(o[1], name.table))


def found_by(schemas: tuple[str, ...], tables: tuple[str, ...]) -> set[tuple[str, str]]:
    """The tables that a refresh with this scope brings in; `?` is no wildcard to the server, nor in its scopes here."""
    found = read_warehouse(SPEC, schemas, tables)
    return {(schema, table) for schema, held in found.items() for table in held}


def read_by(entry: Entry) -> set[tuple[str, str]]:
    """The tables that an entry reads for sure: each of its names in its plainest meaning."""
    if entry.reads is None:
        return _in_scope(entry)
    read = set()
    for text in entry.reads:
        catalog, schema, table = (None, None, *text.split("."))[-3:] if "." in text else (None, text, None)
        read |= set(objects_of(ObjectName(catalog, schema, table)))
    return read


def _in_scope(entry: Entry) -> set[tuple[str, str]]:
    def match(texts: tuple[str, ...], *spellings: str) -> bool:
        return not texts or any(_fits(s, text) for s in spellings for text in texts)

    return {
        (s, t)
        for s, t in OBJECTS
        if match(entry.schemas, s, f"{DATABASE}.{s}") and match(entry.tables, t, f"{s}.{t}", f"{DATABASE}.{s}.{t}")
    }


@settings(max_examples=150, deadline=None)
@given(entry=entries(), changes=st.lists(CHANGES, max_size=4), unclear=st.sampled_from([0, 0, 0, 1]))
def test_no_affected_entry_is_left_out(entry: Entry, changes: list[Change], unclear: int) -> None:
    """An entry is skipped only where nothing that it reads was touched, refreshed softly only where nothing may be gone or
    it says so itself, and then everything that was added is found by its scope, which is never wider than its own.
    """
    lost = (NotUnderstood(source="V2.sql", line=1, text="X"),) * unclear
    what = FollowedChange(changes=ChangeSet(changes=tuple(changes), not_understood=lost))
    listed = {entry.index: tuple(WAREHOUSE)} if must_ask(entry, what) else {}
    (one,) = find_impacts([entry], what, schemas=listed)
    note(f"reads {entry.reads} scope {entry.schemas} {entry.tables}; {[str(c.name) for c in changes]} -> {one.entry}")
    reads = read_by(entry)
    touching = [c for c in changes if reads & set(objects_of(c.name))]
    assert not one.is_skipped or not (touching or lost)
    if one.is_skipped:
        return
    is_pinned = entry.mode_pinned and entry.mode is Mode.SOFT
    if lost or any(c.effect is Effect.DESTRUCTIVE for c in touching):
        assert (one.entry.mode is Mode.SOFT) is is_pinned
        assert bool(one.warnings) or not is_pinned
    if one.entry.mode is Mode.HARD:
        assert not one.entry.schemas
        assert not one.entry.tables
        return
    found = found_by(one.entry.schemas, one.entry.tables)
    own = found_by(entry.schemas, entry.tables)
    wild = "?" in "".join((*entry.schemas, *entry.tables, *(entry.reads or ())))
    assert wild or found <= own
    for each in touching:
        assert wild or set(objects_of(each.name)) & reads & own <= found


@given(changes=st.lists(CHANGES, max_size=4), unclear=st.integers(0, 2))
def test_what_was_affected_survives_storage(changes: list[Change], unclear: int) -> None:
    """What a run follows can be kept as JSON data and read back."""
    lost = (NotUnderstood(source="V2.sql", line=1, text="X", reason="why"),) * unclear
    what = FollowedChange(changes=ChangeSet(changes=tuple(changes), not_understood=lost), may_be_new=frozenset({"fin"}))
    assert change_from_data(change_as_data(what)) == what
