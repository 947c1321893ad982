"""What uses what a change takes away: found in the models' views and fields, then in documents, with few and counted calls."""

from collections.abc import Mapping, Sequence

import pytest

from orchestrator.changes.reader import read_sql
from orchestrator.omni.answers import View, ViewField
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.selection import Selector
from orchestrator.simulator.calls import Call
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.survey.preview import look_up_affected, make_preview
from orchestrator.survey.survey import Survey
from orchestrator.survey.usage import MOST_CALLS, NOT_LOOKED_UP, Usage, fields_using, find_usage
from tests.rehearsal import manifest_text, model, read_manifest, uuid
from tests.survey.instance import survey

DOCUMENTS = [
    {"name": "Weekly", "identifier": "weekly", "queries": [{"name": "q", "fields": ["orders.total", "orders.id"]}]},
    {"name": "Daily", "queries": [{"name": "q", "fields": ["orders.id"]}]},
    {"name": "People", "queries": [{"name": "q", "fields": ["customers.id"]}]},
]


def shop(*faults: Mapping[str, object], models: int = 1) -> Scenario:
    """Models 1 to `models` on one connection with orders and customers, of which documents of model 1 use some fields."""
    connection = {
        "name": "wh",
        "default_schema": "shop",
        "schemas": {"shop": ["orders", "customers"]},
        "columns": {"shop.orders": ["id", "total"], "shop.customers": ["id"]},
    }
    listed = [
        {"id": uuid(n), "name": f"m{n}", "connection": "wh", "documents": DOCUMENTS if n == 1 else []}
        for n in range(1, models + 1)
    ]
    return make_scenario(connections=[connection], models=listed, faults=list(faults))


def usage(sql: str, staged: Scenario, *entries: Mapping[str, object]) -> tuple[Usage, Sequence[Call]]:
    """What uses what a migration takes away, and the calls that found it."""
    manifest = read_manifest(manifest_text(*(entries or (model(1, connection="wh", reads=["shop"]),))))
    followed = FollowedChange(changes=read_sql(sql, source="V1.sql", dialect="postgres"))
    selector = Selector(manifest, (), ())
    selected = selector.select(allow_empty=False)

    async def work(opened: Survey) -> Usage:
        found = await look_up_affected(opened, manifest, selected, followed, selector.picks_branch)
        preview = make_preview(manifest, selected, found, followed=followed, picks=selector.picks_branch, history={})
        return await find_usage(opened, preview.plan)

    return survey(manifest, staged, work)


def test_a_dropped_column_is_found_in_fields_and_documents() -> None:
    """A column is its field's, whose documents are named; a table is its views'; what is only added is not looked up."""
    sql = (
        "ALTER TABLE shop.orders DROP COLUMN total; DROP TABLE shop.customers; ALTER TABLE shop.orders ADD COLUMN x int;"
        "ALTER TABLE shop.orders DROP COLUMN unused; DROP TABLE shop.elsewhere"
    )
    found, calls = usage(sql, shop())
    assert [(use.change.name.table, use.views, use.fields, [d.name for d in use.documents]) for use in found.uses] == [
        ("orders", ("orders",), ("orders.total",), ["Weekly"]),
        ("customers", ("customers",), (), ["People"]),
        ("orders", ("orders",), (), []),
        ("elsewhere", (), (), []),
    ]
    assert {use.problem for use in found.uses} == {""}
    asked = [(call.path.rpartition("/")[2], call.query.get("find_type"), call.query.get("find")) for call in calls]
    assert sorted(map(str, asked)) == sorted(
        map(
            str,
            [
                ("yaml", None, None),
                ("content-validator", "FIELD", "orders.total"),
                ("content-validator", "VIEW", "customers"),
            ],
        )
    )
    assert found.reads == len(calls) == 3


def test_a_schema_is_all_of_its_views() -> None:
    """A dropped schema takes every view on its tables along."""
    found, _ = usage("DROP SCHEMA shop CASCADE", shop())
    (use,) = found.uses
    assert set(use.views) == {"orders", "customers"}
    assert [document.name for document in use.documents] == ["Daily", "People", "Weekly"]


def test_each_model_is_read_once_and_targets_share_it() -> None:
    """Two entries of one model are one use; another model of the connection is read for itself."""
    entries = (
        model(1, connection="wh", reads=["shop"]),
        {**model(1, connection="wh", reads=["shop"]), "name": "again"},
        model(2, connection="wh", reads=["shop"]),
        model(3, connection="wh", reads=["hr"]),
    )
    found, calls = usage("ALTER TABLE shop.orders DROP COLUMN total", shop(models=3), *entries)
    assert [(use.entry.name, [d.name for d in use.documents]) for use in found.uses] == [("m1", ["Weekly"]), ("m2", [])]
    assert sum(call.path.endswith("/yaml") for call in calls) == 2


@pytest.mark.parametrize(
    "path, status, words",
    [
        ("/yaml$", 403, "its views could not be read: 403"),
        ("/content-validator$", 404, "documents could not be read: 404"),
        ("/content-validator$", 200, "documents could not be read"),
    ],
)
def test_what_cannot_be_read_is_said(path: str, status: int, words: str) -> None:
    """A refused or unreadable answer is the use's problem; it never reads as `no document uses it`."""
    fault = {"path": path, "always": True, "status": status, "body": {"message": "no"}}
    (use,) = usage("ALTER TABLE shop.orders DROP COLUMN total", shop(fault))[0].uses
    assert words in use.problem
    assert use.documents == ()


def test_calls_are_bounded() -> None:
    """However many tables go, a plan makes at most so many calls of the content validator; what was left out is said."""
    tables = [f"t{n}" for n in range(MOST_CALLS + 5)]
    connection = {"name": "wh", "default_schema": "shop", "schemas": {"shop": tables}}
    staged = make_scenario(connections=[connection], models=[{"id": uuid(1), "connection": "wh"}])
    found, calls = usage(";".join(f"DROP TABLE shop.{table}" for table in tables), staged)
    assert sum(call.path.endswith("/content-validator") for call in calls) == MOST_CALLS
    assert sum(NOT_LOOKED_UP in use.problem for use in found.uses) == 5


def view(name: str, **fields: str | None) -> View:
    """A view with fields by their SQL."""
    held = tuple(ViewField(name=field, sql=sql) for field, sql in fields.items())
    return View(name=name, catalog=None, schema="shop", table=name, fields=held)


@pytest.mark.parametrize(
    "columns, used",
    [
        (["TOTAL"], {"orders.total", "orders.revenue", "orders.growth", "people.spent"}),
        (["id"], {"orders.id"}),
        (["Unit Price"], {"orders.unit_price"}),
        (["tot"], set()),
        (["created_at"], {"orders.created_at", "orders.week"}),
    ],
)
def test_fields_are_followed_from_a_column(columns: list[str], used: set[str]) -> None:
    """A field uses the column of its own name, or the columns that its SQL names as whole words; and so do fields that refer to it."""
    orders = view(
        "orders",
        id='"ID"',
        total=None,
        unit_price=None,
        created_at=None,
        revenue='sum(${TABLE}."total")',
        growth="${revenue} - ${revenue_before}",
        week="${created_at[week]}",
        subtotal="${TABLE}.subtotal",
    )
    people = view("people", id=None, spent="${orders.growth}")
    assert set(fields_using(columns, [orders], [orders, people])) == used
