"""What an instance and its models hold, over real HTTP: both shapes of each answer, and undocumented shapes."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.answers import (
    ConnectionEnvironment,
    ConnectionRecord,
    ContentDocument,
    ContentIssue,
    ModelRecord,
    ModelRole,
    ModelsPage,
    ModelsQuery,
    RefreshSchedule,
    ValidationIssue,
    View,
    ViewField,
    WhoAmI,
)
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallErrorKind, DeliveryUnknown
from orchestrator.omni.fields import UnreadableAnswer
from orchestrator.omni.job_answers import read_job, read_refresh
from orchestrator.omni.read_answers import (
    read_connection,
    read_connections,
    read_content,
    read_environments,
    read_issues,
    read_models,
    read_schedules,
    read_schemas,
    read_views,
    read_whoami,
)
from orchestrator.simulator import virtual
from tests.omni.raw_server import KEY, Exchange, client, serving

T = TypeVar("T")


def _ask(value: object, use: Callable[[OmniClient], Awaitable[T]]) -> tuple[str, T]:
    """What the client makes of this JSON, and the target that it asked."""
    targets: list[str] = []

    async def behave(exchange: Exchange) -> None:
        targets.append(exchange.target)
        await exchange.answer(200, json.dumps(value).encode())

    async def main() -> T:
        async with serving(behave) as server, client(server.base_url()) as omni:
            return await use(omni)

    answer = virtual.run(main(), debug=True)
    return targets[0], answer


MODEL = {
    "id": "AB-1",
    "name": "Sales",
    "modelKind": "SHARED",
    "connectionId": "C-1",
    "baseModelId": None,
    "createdAt": "2026-01-01T00:00:00Z",
    "updatedAt": "2026-01-02T03:04:05.678Z",
    "deletedAt": None,
    "branches": [{"id": "B-1", "name": "feat/ui"}, {"id": None, "name": "x"}, {"id": "B-2"}, 7],
}
RECORD = ModelRecord(
    id="ab-1",
    name="Sales",
    kind="SHARED",
    connection_id="c-1",
    base_model_id=None,
    deleted=False,
    branches=(("b-1", "feat/ui"),),
)


def test_a_page_of_models() -> None:
    """A page's records, its cursor and its total; what is no record is left out."""
    page = {"hasNextPage": True, "nextCursor": "abc=", "pageSize": 100, "totalRecords": 101}
    value = {"pageInfo": page, "records": [MODEL, {"name": "without id"}, None]}
    target, answer = _ask(value, lambda omni: omni.models(ModelsQuery(kind="SHARED", page_size=100), KEY))
    assert answer == ModelsPage(records=(RECORD,), next_cursor="abc=", total=101)
    assert urlsplit(target).path == "/api/v1/models"
    assert ("modelKind", "SHARED") in parse_qsl(urlsplit(target).query)


@pytest.mark.parametrize(
    "page, cursor",
    [
        ({"hasNextPage": False, "nextCursor": "x"}, None),
        ({"hasNextPage": True, "nextCursor": 2}, "2"),
        ({"nextCursor": "x"}, "x"),
        ({"nextCursor": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_where_the_next_page_is(page: object, cursor: str | None) -> None:
    """The last page has no cursor, whatever it shows; a number is a cursor as well."""
    body = json.dumps({"pageInfo": page, "records": []}).encode()
    assert read_models(body) == ModelsPage(records=(), next_cursor=cursor, total=None)


def test_a_next_page_that_cannot_be_reached() -> None:
    """A list that goes on somewhere is not taken for a whole one."""
    with pytest.raises(UnreadableAnswer):
        read_models(b'{"pageInfo": {"hasNextPage": true}, "records": []}')


def test_a_bare_list_of_models() -> None:
    """A list without its page is one page."""
    moved = MODEL | {"deletedAt": "2026-01-03", "modelKind": "shared", "branches": None}
    (record,) = read_models(json.dumps([moved]).encode()).records
    assert (record.deleted, record.kind, record.branches) == (True, "SHARED", None)


def test_connections() -> None:
    """Connections come bare or wrapped; one alone as itself or wrapped."""
    item = {"id": "C1", "name": "wh", "dialect": "snowflake", "database": "D", "defaultSchema": "S", "baseRole": "R"}
    record = ConnectionRecord(
        id="c1", name="wh", dialect="snowflake", database="D", default_schema="S", base_role="R", deleted=False
    )
    for value in ([item, {}, 3], {"connections": [item]}, {"records": [item]}):
        assert _ask(value, lambda omni: omni.connections(KEY)) == ("/api/v1/connections", (record,))
    for one in (item, {"connection": item}):
        assert _ask(one, lambda omni: omni.connection("c/1", KEY)) == ("/api/v1/connections/c%2F1", record)
    with pytest.raises(UnreadableAnswer):
        read_connection(b"{}")


def test_schemas() -> None:
    """A model's schemas come bare or wrapped, as text or objects."""
    for value in (["A", "b.c"], {"schemas": ["A", {"name": "b.c"}]}):
        target, answer = _ask(value, lambda omni: omni.schemas("m", KEY, {"branchId": "br", "branch_id": "br"}))
        assert (target, answer) == ("/api/v1/models/m/schemas?branchId=br&branch_id=br", ("A", "b.c"))


@pytest.mark.parametrize("item", ["", None, {"x": 1}, 7])
def test_a_schema_without_a_name_makes_the_list_unreadable(item: object) -> None:
    """A list of which an item cannot be read does not show what is missing."""
    with pytest.raises(UnreadableAnswer):
        read_schemas(json.dumps(["A", item]).encode())


def test_issues() -> None:
    """Findings come bare or wrapped; one without a message is a finding as well."""
    item = {"message": "no such column", "is_warning": False, "yaml_path": "a.view", "auto_fix": None}
    issue = ValidationIssue(message="no such column", is_warning=False, yaml_path="a.view")
    for value in ([item], {"issues": [item], "valid": False}):
        target, answer = _ask(value, lambda omni: omni.validate("m", KEY))
        assert (target, answer) == ("/api/v1/models/m/validate", (issue,))
    assert read_issues(b'[{"isWarning": "true"}, "text"]') == (
        ValidationIssue(message="", is_warning=True),
        ValidationIssue(message="text", is_warning=False),
    )


@pytest.mark.parametrize(
    "severity, is_warning",
    [("error", False), ("ERROR", False), ("warning", True), (" Warning ", True), ("info", True), ("fatal", False)],
)
def test_issues_of_the_vendors_command_line(severity: str, is_warning: bool) -> None:
    """The vendor's CLI describes issues by view and field, and their severity by a word; a word that is not known is an error."""
    item = {"message": "no such column", "severity": severity, "view": "orders", "field": {"name": "total"}}
    (issue,) = read_issues(json.dumps({"issues": [item], "valid": is_warning}).encode())
    assert issue == ValidationIssue(message="no such column", is_warning=is_warning, view="orders", field="total")


@pytest.mark.parametrize("value", [{"issues": [], "valid": False}, {"valid": True}, [7], [["no"]], {"error": "boom"}])
def test_issues_that_cannot_be_read(value: object) -> None:
    """An answer of which a finding cannot be read does not show that there is none."""
    with pytest.raises(UnreadableAnswer):
        read_issues(json.dumps(value).encode())


DOCUMENT = {
    "document_id": "abc123",
    "identifier": "dashboard-1",
    "name": "Sales Dashboard",
    "type": "Published",
    "folder": {"name": "Reports", "path": "/Reports"},
    "owner": {"email": "ada@example.com", "name": "Ada"},
    "queries_and_issues": [
        {
            "query_name": "Total Revenue",
            "query_presentation_id": "qp-123",
            "query_id_map_key": "1",
            "issues": ["Field 'orders.old_field' not found in model"],
        },
        {"query_name": "Orders", "query_presentation_id": "qp-124", "issues": []},
    ],
    "dashboard_filter_issues": ["Filter uses 'legacy.id'"],
}
READ_DOCUMENT = ContentDocument(
    id="abc123",
    name="Sales Dashboard",
    identifier="dashboard-1",
    kind="Published",
    folder="/Reports",
    queries=("Total Revenue", "Orders"),
    issues=(
        ContentIssue(message="Field 'orders.old_field' not found in model", query="Total Revenue", query_id="qp-123"),
        ContentIssue(message="Filter uses 'legacy.id'", query="dashboard filter", query_id="filter "),
    ),
)


def test_content() -> None:
    """Documents come in the vendor's object or as a bare list, each with its queries and issues; nothing else is sent."""
    for value in ({"model_id": "m", "branch": None, "content": [DOCUMENT]}, [DOCUMENT], {"data": [DOCUMENT]}):
        target, answer = _ask(value, lambda omni: omni.content("m", KEY))
        assert (target, answer) == ("/api/v1/models/m/content-validator", (READ_DOCUMENT,))
    empty = {"model_id": "m", "branch": {"id": "BR", "name": "b"}, "content": []}
    target, answer = _ask(empty, lambda omni: omni.content("m", KEY, "br", filter_mode="WITH_ISSUES"))
    assert target == "/api/v1/models/m/content-validator?branch_id=br&content_filter_mode=WITH_ISSUES"
    target, _ = _ask([], lambda omni: omni.content("m", KEY, find="orders.total", find_type="FIELD"))
    assert target == "/api/v1/models/m/content-validator?find=orders.total&find_type=FIELD"


def test_content_in_odd_shapes() -> None:
    """Issues may be objects, a document may have errors of its own, and what is left out is None."""
    item = {
        "identifier": 7,
        "folder": "/Reports",
        "queries_and_issues": [
            {"query_id_map_key": "1", "issues": [{"message": "a"}, {"field": "x.y", "issues": ["b", "c"]}]}
        ],
        "dashboard_filter_issues": [{"filter_name": "Region", "message": "d"}],
        "document_errors": "e",
        "error": None,
    }
    (document,) = read_content(json.dumps([item]).encode(), branch_id="b")
    assert (document.id, document.identifier, document.name, document.folder) == ("7", "7", None, "/Reports")
    assert [(issue.query, issue.query_id, issue.message) for issue in document.issues] == [
        *((None, "1", text) for text in "abc"),
        ("Region", "filter Region", "d"),
        (None, None, "e"),
    ]


@pytest.mark.parametrize(
    "value",
    [
        {"model_id": "m"},
        {"content": None},
        {"content": [DOCUMENT], "error": "timed out"},
        {"content": [DOCUMENT], "next_cursor": "x"},
        {"content": [DOCUMENT], "pageInfo": {"hasNextPage": True}},
        {"content": [DOCUMENT], "branch": None},
        {"content": [DOCUMENT], "branch": {"id": "another"}},
        {"content": [DOCUMENT, "text"]},
        {"content": [{"name": "without an id", "queries_and_issues": []}]},
        {"content": [{"document_id": "without issues"}]},
        {"content": [{**DOCUMENT, "queries_and_issues": 7}]},
        {"content": [{**DOCUMENT, "queries_and_issues": ["text"]}]},
        {"content": [{**DOCUMENT, "dashboard_filter_issues": [7]}]},
        {"content": [{**DOCUMENT, "dashboard_filter_issues": [{"severity": "error"}]}]},
    ],
)
def test_content_that_cannot_be_read(value: object) -> None:
    """An answer that is not whole, or about another branch, does not show that an issue is gone."""
    with pytest.raises(UnreadableAnswer):
        read_content(json.dumps(value).encode(), branch_id="br")


VIEW_FILE = """\
schema: shop
table_name: orders
# dimensions: {}
dimensions:
  id:
    sql: '"ID"'
    primary_key: true
  "Unit Price":   # a comment
    label: "sql: no"
  total: {}
  full_name:
    sql: >-
      ${TABLE}.first || ' ' ||
      ${TABLE}.last
    label: Name
  short: { sql: "${TABLE}.s" }
measures:
    revenue:
        aggregate_type: sum
        sql: ${total}
other:
  x:
    sql: no
"""


def test_fields_of_views() -> None:
    """Fields have their names and their SQL, as far as the file says it in block style; they are read only if asked for."""
    value = {"files": {"shop/orders.view": VIEW_FILE}}
    _, (view,) = _ask(value, lambda omni: omni.views("m", KEY, with_fields=True))
    shown = {field.name: field.sql for field in view.fields}
    assert list(shown) == ["id", "Unit Price", "total", "full_name", "short", "revenue"]
    assert (shown["id"], shown["Unit Price"], shown["total"], shown["revenue"]) == ("'\"ID\"'", None, None, "${total}")
    assert "${TABLE}.last" in (shown["full_name"] or "")
    assert "Name" not in (shown["full_name"] or "")
    assert "${TABLE}.s" in (shown["short"] or "")
    assert ViewField(name="total") in view.fields
    _, (plain,) = _ask(value, lambda omni: omni.views("m", KEY))
    assert plain.fields == ()


def test_views() -> None:
    """Each view's file names its table, quoted or not; a view without a file is known by its name alone."""
    files = {
        "PUBLIC/orders.view": "# Reference this view as orders\nschema: PUBLIC\ntable_name: ORDERS\ndimensions:\n  a: {}\n",
        "PUBLIC/odd.view": 'catalog: \'it\'\'s\'\nschema: "S \\"x\\""\ntable_name: "2024_01" # quoted\n',
        "LATE/deep.view": "table_name: t\n  schema: nested\n",
        "views/query.yaml": "query:\n  fields: []\n",
        "model.yaml": "schema: not_a_view\n",
        "relationships": "[]",
        "sales.topic": "base_view: orders\n",
        "broken.view": 7,
    }
    value = {"files": files, "version": 3, "viewNames": {"orders": "x", "lonely": "y"}}
    target, answer = _ask(value, lambda omni: omni.views("m", KEY, "br", "offloaded one"))
    assert target == "/api/v1/models/m/yaml?mode=combined&branchId=br&includeSchemas=offloaded%20one"
    assert answer == (
        View(name="orders", catalog=None, schema="PUBLIC", table="ORDERS"),
        View(name="odd", catalog="it's", schema='S "x"', table="2024_01"),
        View(name="deep", catalog=None, schema="LATE", table="t"),
        View(name="query", catalog=None, schema=None, table=None),
        View(name="lonely", catalog=None, schema=None, table=None),
    )
    assert read_views(b'{"files": {}, "viewNames": ["a", 1]}') == (
        View(name="a", catalog=None, schema=None, table=None),
    )
    (only,) = read_views(b'{"files": {"S/v.view": ""}, "viewNames": {"S/v.view": "v"}}')
    assert only == View(name="v", catalog=None, schema="S", table=None)
    with pytest.raises(UnreadableAnswer):
        read_views(b'{"viewNames": {}}')


def test_a_giant_views_file() -> None:
    """A file of a megabyte of blanks or quotes costs no time."""
    for piece in (" ", '"', "schema: '", 'schema: "\\', "schema: a "):
        text = json.dumps({"files": {"a.view": piece * (1_000_000 // len(piece))}})
        assert read_views(text.encode())[0].name == "a"


def test_schedules() -> None:
    """A connection's schedules, whichever name the cron expression has."""
    value = [
        {"id": "S", "schedule": "0 6 * * ? *", "timezone": "UTC", "hardRefresh": True, "disabledAt": None},
        {"cron": "0 7 * * ? *", "disabledAt": "2026-01-01T00:00:00Z"},
    ]
    expected = (
        RefreshSchedule(id="s", cron="0 6 * * ? *", timezone="UTC", hard=True, disabled=False),
        RefreshSchedule(id="", cron="0 7 * * ? *", timezone=None, hard=None, disabled=True),
    )
    assert _ask(value, lambda omni: omni.schedules("c", KEY)) == ("/api/v1/connections/c/schedules", expected)


def test_roles() -> None:
    """Who a key acts as, and what it is on each model."""
    roles = {"M1": {"baseRole": "MODELER", "roleName": "x", "connectionId": "C"}, "m2": None}
    value = {"keyScope": "organization", "orgRole": None, "rolesByModel": roles, "rolesByModelTruncated": True}
    target, answer = _ask(value, lambda omni: omni.whoami(("m1", "m2"), KEY))
    assert target == "/api/v1/whoami?modelId=m1%2Cm2"
    assert answer == WhoAmI(
        key_scope="organization",
        org_role=None,
        roles=(
            ModelRole(model_id="m1", base_role="MODELER", connection_id="c"),
            ModelRole(model_id="m2", base_role=None, connection_id=None),
        ),
    )


def test_environments() -> None:
    """Connection environments tell which connection stands in for which."""
    value = {"connectionEnvironments": [{"id": "E", "baseConnectionId": "C", "connectionId": "D"}]}
    expected = (ConnectionEnvironment(id="e", base_connection_id="c", connection_id="d"),)
    assert _ask(value, lambda omni: omni.environments(KEY)) == ("/api/v1/connection-environments", expected)


def test_a_ping_asks_little() -> None:
    """Whatever a ping's answer says, an answer is enough."""
    assert _ask("anything", lambda omni: omni.ping(KEY)) == ("/api/v1/models?pageSize=1", None)


def test_fields_of_other_types() -> None:
    """A number is an id; a boolean and a blank text are none, and what has no id is left out."""
    items = [{"id": 7, "deletedAt": None}, {"id": True}, {"id": " "}, {"id": "x", "deletedAt": 5}]
    first, second = read_models(json.dumps(items).encode()).records
    assert (first.id, first.deleted) == ("7", False)
    assert (second.id, second.deleted) == ("x", True)


@pytest.mark.parametrize("value", [None, 3, "x", {}, {"records": {}}, {"error": "x"}])
def test_no_list_is_not_an_empty_list(value: object) -> None:
    """An answer without a list says nothing; it never says that there is nothing."""
    with pytest.raises(DeliveryUnknown) as caught:
        _ask(value, lambda omni: omni.models(ModelsQuery(), KEY))
    assert caught.value.kind is CallErrorKind.UNREADABLE


NAMES = [
    *("records", "pageInfo", "id", "name", "branches", "connections", "connection", "schemas", "issues", "message"),
    *("files", "viewNames", "a.view", "schedules", "rolesByModel", "m", "hasNextPage", "nextCursor", "status", "job"),
    *("jobId", "deletedAt", "updatedAt", "is_warning", "data", "totalRecords", "keyScope"),
    *("content", "document_id", "queries_and_issues", "dashboard_filter_issues", "query_name", "branch"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)
READERS = (
    *(
        read_refresh,
        lambda body: read_job(body, job_id="J"),
        read_models,
        read_connections,
        read_connection,
        read_schemas,
        read_issues,
        lambda body: read_content(body, branch_id="b"),
        partial(read_views, with_fields=True),
    ),
    *(read_schedules, read_environments, read_whoami),
)


@given(st.sampled_from(READERS), JSON)
def test_no_json_breaks_a_reader(read: Callable[[bytes], object], value: object) -> None:
    """Whatever the server puts in place of a field, a reader gives an answer or says that it cannot."""
    try:
        read(json.dumps(value).encode())
    except UnreadableAnswer:
        return
