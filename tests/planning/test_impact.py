"""What a change means for one entry: nothing, a soft refresh of what it affects, or a hard one."""

from dataclasses import replace

import pytest

from orchestrator.manifest.manifest import Entry, Mode, RefreshKind
from orchestrator.planning.impact import KEEPS_WHAT_IS_GONE, SCHEMAS_UNKNOWN, SEES_NO_TABLES, find_impacts, must_ask
from tests.planning.changing import concern_of, reader, scope_of, touched

SOFT, HARD = Mode.SOFT, Mode.HARD


@pytest.mark.parametrize(
    "reads, change, concerned",
    [
        ("finance", "+finance.invoices", True),
        ("finance", "+FINANCE.INVOICES", True),
        ("finance", "+warehouse.finance.invoices", True),
        ("finance", "+finance", True),
        ("finance", "+sales.finance", False),
        ("finance", "+finance_eu.invoices", False),
        ("finance", "+?.invoices", True),
        ("finance", "+warehouse.*.*", True),
        ("fin*", "+finance_eu.invoices", True),
        ("fin?", "+fina.invoices", True),
        ("fin?", "+finance.invoices", False),
        ("finance.invoices", "+finance.invoices", True),
        ("finance.invoices", "+finance.orders", False),
        ("finance.invoices", "+finance", True),
        ("finance.invoices", "+?.invoices", True),
        ("finance.invoices", "+?.orders", True),  # it may be a catalog and its schema
        ("w.finance.invoices", "+?.orders", False),
        ("finance.*", "+finance.orders", True),
        ("finance.*", "+sales.orders", False),
        ("finance.ledger_*", "+finance.ledger_2024", True),
        ("finance.ledger_*", "+finance.led*", True),
        ("finance.ledger_*", "+finance.orders*", False),
        # two parts may be a catalog and its schema
        ("warehouse.finance", "+warehouse.finance.invoices", True),
        ("warehouse.finance", "+finance.invoices", True),
        ("warehouse.finance", "+lake.finance.invoices", False),
        ("warehouse.finance", "+warehouse.sales.invoices", False),
        ("warehouse.finance.invoices", "+warehouse.finance.invoices", True),
        ("warehouse.finance.invoices", "+finance.invoices", True),
        ("warehouse.finance.invoices", "+lake.finance.invoices", False),
        ("warehouse.finance.*", "+sales.orders", False),
        ("warehouse.*.*", "+lake.sales.orders", False),
        ("warehouse.*.*", "+warehouse.sales.orders", True),
        ("warehouse.*", "+sales.orders", False),
        # quotes and dots
        ('"odd.name".t', '+"odd.name".t', True),
        ('"my schema"', '+"my schema".t', True),
        ("[dbo].[t]", "+dbo.t", True),
        ("finance", '+"odd.name".t', True),
        ("*", "+anything.at_all", True),
        # a migration tool's own books, which are created once and anywhere
        ("finance", "+?.alembic_version", False),
        ("finance", "-?.DATABASECHANGELOG", False),
        ("finance", "+finance.alembic_version", True),
    ],
)
def test_reads_say_what_concerns_an_entry(reads: str, change: str, concerned: bool) -> None:
    """Catalogs, wildcards and the case of letters never hide a change; in doubt two names match."""
    assert concern_of(reader(reads), touched(change)).is_skipped is not concerned


@pytest.mark.parametrize(
    "schemas, tables, change, concerned",
    [
        (["finance"], [], "+finance.invoices", True),
        (["finance"], [], "+sales.invoices", False),
        (["warehouse.finance"], [], "+finance.invoices", True),
        (["warehouse.*"], [], "+finance.invoices", True),
        (["warehouse.finance"], [], "+lake.finance.invoices", False),
        (["finance"], ["invoices"], "+finance.invoices", True),
        (["finance"], ["invoices"], "+finance.orders", False),
        (["finance"], ["invoices"], "+sales.invoices", False),
        (["finance"], ["invoices"], "+finance", True),
        (["finance"], ["finance.ledger_*"], "+finance.ledger_1", True),
        ([], ["finance.invoices"], "+finance.invoices", True),
        ([], ["finance.invoices"], "+sales.invoices", False),
        ([], ["finance.invoices"], "+sales", False),
        ([], ["invoices"], "+sales.invoices", True),
        ([], ["warehouse.finance.invoices"], "+finance.invoices", True),
    ],
)
def test_scopes_are_what_an_entry_reads_by_default(
    schemas: list[str], tables: list[str], change: str, concerned: bool
) -> None:
    """Without `reads`, a change in the entry's scope affects it: these tables within these schemas."""
    one = concern_of(reader(schemas=schemas, tables=tables), touched(change))
    assert one.is_skipped is not concerned


@pytest.mark.parametrize(
    "entry, changes, expected",
    [
        # additive: the touched tables in the touched schemas
        (reader("finance"), ["+finance.a", "+finance.b"], ("soft", ["finance"], ["finance.a", "finance.b"])),
        (reader("finance", "sales"), ["+finance.a", "+sales.b"], ("soft", ["finance", "sales"], ["finance.a", "sales.b"])),
        (reader("finance"), ["+finance.a", "+sales.b"], ("soft", ["finance"], ["finance.a"])),
        (reader("finance"), ["+FINANCE.A"], ("soft", ["finance"], ["finance.A"])),
        (reader("fin*"), ["+finance.a"], ("soft", ["finance"], ["finance.a"])),
        (reader("w.finance"), ["+w.finance.a"], ("soft", ["w.finance"], ["finance.a"])),
        (reader("w.fin*"), ["+w.finance.a"], ("soft", ["w.finance"], ["finance.a"])),
        (reader("w.finance.a"), ["+finance.a"], ("soft", ["w.finance"], ["finance.a"])),
        (reader("finance.a"), ["+finance.a"], ("soft", ["finance"], ["finance.a"])),
        # a whole schema takes the limit to tables away
        (reader("finance", "sales"), ["+finance.a", "+sales"], ("soft", ["finance", "sales"], [])),
        # names that cannot be sent, or could be read as others, widen
        (reader("finance"), ['+finance."a,b"'], ("soft", ["finance"], [])),
        (reader("finance"), ['+finance."a.b"'], ("soft", ["finance"], [])),
        (reader("*"), ['+"a,b".t'], ("soft", [], [])),
        # an unknown schema
        (reader("finance"), ["+?.a"], ("soft", [], ["a"])),
        (reader("finance"), ["+?.a", "+finance.b"], ("soft", [], ["a", "finance.b"])),
        (reader("finance"), ["+?.a", "+finance"], ("soft", [], [])),
        (reader("finance"), ["+w.*.*"], ("soft", [], [])),
        # never wider than the entry's own scope, in its own words
        (reader(schemas=["Finance"]), ["+finance.a"], ("soft", ["Finance"], ["Finance.a"])),
        (reader(schemas=["w.finance"]), ["+finance.a"], ("soft", ["w.finance"], ["finance.a"])),
        (reader(schemas=["fin*", "sales"]), ["+finance.a"], ("soft", ["finance"], ["finance.a"])),
        (reader(schemas=["fin*"]), ["+f*.a"], ("soft", ["fin*"], ["fin*.a"])),
        (reader(schemas=["finance", "sales"]), ["+?.a"], ("soft", ["finance", "sales"], ["a"])),
        (reader(schemas=["finance", "sales"]), ["+w.*.*"], ("soft", ["finance", "sales"], [])),
        (reader(schemas=["finance"], tables=["a", "b"]), ["+finance.a"], ("soft", ["finance"], ["a"])),
        (reader(schemas=["finance"], tables=["l*"]), ["+finance.l1"], ("soft", ["finance"], ["finance.l1"])),
        (reader(schemas=["finance"], tables=["l*"]), ["+finance.?1"], ("soft", ["finance"], ["l*"])),
        (reader(schemas=["finance"], tables=["a", "l*"]), ["+finance"], ("soft", ["finance"], ["a", "l*"])),
        (reader(schemas=["finance"], tables=["*"]), ['+finance."a,b"'], ("soft", ["finance"], ["*"])),
        (reader(tables=["finance.a", "b"]), ["+FINANCE.A"], ("soft", ["finance"], ["finance.a"])),
        (reader(tables=["a", "fin.a"]), ["+f*.*"], ("soft", ["fin", "f*"], ["a", "fin.a"])),
        (reader(tables=["finance.a", "b"]), ["+w.*.*"], ("soft", [], ["finance.a", "b"])),
        (reader("ledger", schemas=["finance"]), ["+ledger.a"], ("soft", ["finance"], [])),
        (reader("ledger", schemas=["finance"], tables=["a"]), ["+ledger.b"], ("soft", ["finance"], ["a"])),
        (reader("*", schemas=["finance"]), ["+ledger.a", "+finance.b"], ("soft", ["finance"], ["finance.b"])),
        # destructive: all of the connection
        (reader("finance"), ["-finance.a"], ("hard", [], [])),
        (reader("finance"), ["+finance.a", "-finance.b"], ("hard", [], [])),
        (reader("finance"), ["+finance.a", "-sales.b"], ("soft", ["finance"], ["finance.a"])),
        (reader(schemas=["finance"], tables=["a"]), ["-finance.a"], ("hard", [], [])),
        # what an entry says itself
        (reader("finance", mode=SOFT), ["-finance.a"], ("soft", ["finance"], ["finance.a"])),
        (reader("finance", mode=SOFT), ["+finance.a"], ("soft", ["finance"], ["finance.a"])),
        (reader("finance", mode=HARD), ["+finance.a"], ("hard", [], [])),
        (reader("finance", mode=HARD), ["-finance.a"], ("hard", [], [])),
        (reader("finance", mode=HARD), ["+sales.a"], ("skip", [], [])),
        (reader(schemas=["finance"], mode=SOFT), ["-finance.a"], ("soft", ["finance"], ["finance.a"])),
    ],
)  # fmt: skip
def test_an_entry_gets_no_more_than_it_needs(
    entry: Entry, changes: list[str], expected: tuple[str, list[str], list[str]]
) -> None:
    """Additive changes need a soft refresh of themselves, within the entry's scope; destructive ones a hard refresh."""

    assert scope_of(concern_of(entry, touched(*changes))) == expected


def test_what_was_not_understood_touches_everything() -> None:
    """A statement that was not understood makes every refresh hard, without scopes; a pinned soft one keeps its scope."""
    what = touched("+finance.a", unclear=1)
    assert scope_of(concern_of(reader("sales"), what)) == ("hard", [], [])
    assert scope_of(concern_of(reader(schemas=["sales"]), what)) == ("hard", [], [])
    one = concern_of(reader("finance", mode=SOFT), what)
    assert scope_of(one) == ("soft", [], [])
    assert "V2__y.sql:1" in one.warnings[0]
    scoped = concern_of(reader(schemas=["sales"], mode=SOFT), what)
    assert scope_of(scoped) == ("soft", ["sales"], [])


def test_warnings_say_what_stays_behind() -> None:
    """There is a warning for a pinned soft refresh after a removal, for a dropped scope, and for tables without schemas."""
    (kept,) = concern_of(reader("finance", mode=SOFT), touched("-finance.a")).warnings
    assert kept.startswith(KEEPS_WHAT_IS_GONE)
    assert "finance.a (V1__x.sql:1: because)" in kept
    (dropped,) = concern_of(reader(schemas=["finance"]), touched("-finance.a")).warnings
    assert "without its scope" in dropped
    (homeless,) = concern_of(reader("finance"), touched("+?.a", "+?.b", "+?.c", "+?.d")).warnings
    assert "a, b, c and 1 more" in homeless
    assert concern_of(reader("finance"), touched("+finance.a", "-sales.b")).warnings == ()


def test_the_instance_says_what_a_plain_entry_reads() -> None:
    """Changes in the connection's schemas affect an entry without `reads` and scope, and are written as those are."""
    plain, what = reader(), touched("+reporting.a", "+sales.b")
    listed = ["warehouse.Reporting", "warehouse.hr"]
    assert must_ask(plain, what)
    assert scope_of(concern_of(plain, what, listed=listed)) == ("soft", ["warehouse.Reporting"], ["Reporting.a"])
    assert scope_of(concern_of(plain, what, listed=["a.reporting", "b.reporting"])) == (
        "soft",
        ["a.reporting", "b.reporting"],
        ["reporting.a"],
    )
    assert scope_of(concern_of(plain, touched("+lake.reporting.a"), listed=listed))[0] == "skip"
    skipped = concern_of(plain, touched("-marketing.a"), listed=listed)
    assert skipped.is_skipped


def test_an_unread_entry_counts_as_affected() -> None:
    """If the schemas could not be read, or there are none yet, every change affects the entry; a failure is a warning."""
    one = concern_of(reader(), touched("+sales.b"), failed=True)
    assert scope_of(one) == ("soft", ["sales"], ["sales.b"])
    assert one.warnings == (SCHEMAS_UNKNOWN,)
    fresh = concern_of(reader(), touched("+sales.b"), listed=[])
    assert (scope_of(fresh), fresh.warnings) == (("soft", ["sales"], ["sales.b"]), ())


def test_only_what_must_be_asked_is_asked() -> None:
    """No look-up for entries that say what they read, are disabled, or are affected in any case."""
    assert not must_ask(reader("finance"), touched("+finance.a"))
    assert not must_ask(reader(schemas=["finance"]), touched("+finance.a"))
    assert not must_ask(reader(tables=["a"]), touched("+finance.a"))
    assert not must_ask(reader(enabled=False), touched("+finance.a"))
    assert not must_ask(reader(), touched("+finance.a", unclear=1))
    assert not must_ask(reader(), touched("+?.a"))
    assert not must_ask(reader(), touched())
    assert must_ask(reader(), touched("+?.a", "+finance.a"))


def test_a_new_schema_affects_models_that_read_all_of_a_connection() -> None:
    """A schema that the change may have created affects every such entry, unless a list has it."""
    first, second, narrow = reader(index=1), reader(index=2), reader("sales", index=3)
    what = touched("+fresh", "+fresh.a", new=["fresh"])
    lists = {1: ("finance",), 2: ("sales",)}
    assert [c.is_skipped for c in find_impacts([first, second, narrow], what, schemas=lists)] == [False, False, True]
    known = {1: ("finance",), 2: ("w.Fresh",)}
    assert [c.is_skipped for c in find_impacts([first, second, narrow], what, schemas=known)] == [True, False, True]
    assert find_impacts([first], touched("+fresh.a"), schemas=lists)[0].is_skipped


def test_no_change_affects_no_entry() -> None:
    """An empty change skips every entry and says so; a disabled entry has no impact."""
    entries = [reader(), reader("finance", index=1, mode=HARD), reader(index=2, enabled=False)]
    found = find_impacts(entries, touched(), schemas={})
    assert [(c.is_skipped, " empty" in c.why) for c in found] == [(True, True)] * 2


def test_the_reason_names_the_changes() -> None:
    """The reason names the first three changes with their lines, or what a skipped entry reads."""
    many = concern_of(reader("finance"), touched(*(f"+finance.t{n}" for n in range(5))))
    assert many.why.startswith("soft: finance.t0 (V1__x.sql:1: because), finance.t1 (V1__x.sql:2")
    assert many.why.endswith("and 2 more")
    assert len(many.changes) == 5
    assert concern_of(reader("a", "b", "c", "d"), touched("+z.z")).why.endswith(" a, b, c and 1 more")
    assert concern_of(reader(tables=["x.y"]), touched("+z.z")).why.endswith(" x.y")


@pytest.mark.parametrize("change", ["+finance.invoices", "-finance.invoices"])
def test_a_dbt_sync_stays_a_sync(change: str) -> None:
    """An affected entry gets its sync, whatever the change does, and a warning that it reads no tables."""
    one = concern_of(replace(reader("finance"), refresh=RefreshKind.DBT_SYNC, mode=SOFT), touched(change))
    assert (one.is_skipped, one.entry.refresh, one.entry.schemas) == (False, RefreshKind.DBT_SYNC, ())
    assert one.why.startswith("dbt sync: finance.invoices")
    assert one.warnings[0].startswith(SEES_NO_TABLES)
    assert concern_of(replace(reader("sales"), refresh=RefreshKind.DBT_SYNC), touched(change)).is_skipped
