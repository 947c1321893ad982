"""Models in pages, connections, schedules, environments, and who one is."""

from typing import Any

import pytest

from orchestrator.simulator.staging import branch_id, connection_id, model_id
from tests.simulator.conversation import Counter

WH, LAKE = connection_id("wh"), connection_id("lake")


def _counter(**sections: Any) -> Counter:
    models = [
        {"name": "Sales", "connection": "wh", "branches": ["nightly/schema", "dev"]},
        {"name": "sales emea", "connection": "wh", "kind": "SHARED_EXTENSION", "base": "Sales"},
        {"name": "Schema", "connection": "wh", "kind": "SCHEMA"},
        {"name": "Events", "connection": "lake"},
        {"name": "Old", "connection": "lake", "deleted": True},
        {"name": "Book", "connection": "lake", "kind": "WORKBOOK", "base": "Events"},
    ]
    connections = [
        {"name": "wh", "database": "prod", "default_schema": "public", "dialect": "snowflake"},
        {"name": "lake", "database": "Lake", "dialect": "bigquery", "role": "MODELER"},
    ]
    whole: dict[str, Any] = {"connections": connections, "models": models, **sections}
    return Counter(**whole)


def _names(counter: Counter, query: str = "") -> list[str]:
    status, body = counter.get(f"/models{query}")
    assert status == 200, body
    return [record["name"] for record in body["records"]]


def test_a_record_has_the_documented_fields() -> None:
    """A model is told with its kind, connection, base and stamps; a branch is a record too."""
    counter = _counter()
    status, body = counter.get("/models?modelKind=BRANCH&sortField=name&sortDirection=asc")
    assert status == 200
    assert body["pageInfo"] == {"hasNextPage": False, "nextCursor": None, "pageSize": 20, "totalRecords": 2}
    assert body["records"][0] == {
        "id": branch_id(model_id("Sales"), "dev"),
        "name": "dev",
        "modelKind": "BRANCH",
        "connectionId": WH,
        "baseModelId": model_id("Sales"),
        "createdAt": "2026-01-30T02:00:02.000Z",
        "updatedAt": "2026-01-30T02:00:02.000Z",
        "deletedAt": None,
    }


@pytest.mark.parametrize(
    "query,names",
    [
        ("", ["Book", "Events", "Schema", "sales emea", "dev", "nightly/schema", "Sales"]),
        ("?modelKind=SHARED", ["Events", "Sales"]),
        ("?modelKind=SHARED&includeDeleted=true", ["Old", "Events", "Sales"]),
        (f"?connectionId={WH}&modelKind=SHARED_EXTENSION", ["sales emea"]),
        (f"?connectionId={WH.upper()}&modelKind=SCHEMA", ["Schema"]),
        (f"?modelId={model_id('Events').upper()}", ["Events"]),
        (f"?baseModelId={model_id('Sales')}&modelKind=BRANCH", ["dev", "nightly/schema"]),
        ("?name=sales", ["Sales"]),
        ("?name=nightly%2Fschema", ["nightly/schema"]),
        ("?name=&modelKind=SCHEMA", ["Schema"]),
        ("?name=nothing", []),
        ("?modelKind=SHARED&sortField=name&sortDirection=asc", ["Events", "Sales"]),
        ("?modelKind=SHARED&sortField=createdAt&sortDirection=asc", ["Sales", "Events"]),
        ("?sortField=modelKind&sortDirection=asc&pageSize=3", ["nightly/schema", "dev", "Schema"]),
        ("?sortField=baseModelId&sortDirection=asc&pageSize=1", ["Sales"]),
        (f"?sortField=connectionId&connectionId={LAKE}", ["Book", "Events"]),
    ],
)
def test_filters_and_sorting(query: str, names: list[str]) -> None:
    """Filters match exactly, names whatever their case; an empty filter is none; the newest come first if nothing is said."""
    assert _names(_counter(), query) == names


def test_names_may_match_in_part() -> None:
    """With `names: contains` the filter gives more than was asked for: a client must look again."""
    assert _names(_counter(answers={"names": "contains"}), "?name=SALES") == ["sales emea", "Sales"]


def test_active_branches_are_included_on_demand() -> None:
    """`include=activeBranches` adds each model's branches as records."""
    body = _counter().get("/models?modelKind=SHARED&include=activeBranches")[1]
    branches = {record["name"]: [branch["name"] for branch in record["branches"]] for record in body["records"]}
    assert branches == {"Events": [], "Sales": ["nightly/schema", "dev"]}
    assert "branches" not in _counter().get("/models?modelKind=SHARED")[1]["records"][0]


def test_pages_follow_one_another() -> None:
    """Cursors lead through the whole list, each record once, and end."""
    counter = Counter(generate=[{"count": 250, "name": "Model {n:03}"}])
    names: list[str] = []
    cursor, sizes = "", []
    while True:
        body = counter.get(f"/models?pageSize=100&sortField=name&sortDirection=asc{cursor}")[1]
        names += [record["name"] for record in body["records"]]
        sizes.append(len(body["records"]))
        assert body["pageInfo"]["totalRecords"] == 250
        if not body["pageInfo"]["hasNextPage"]:
            break
        cursor = f"&cursor={body['pageInfo']['nextCursor']}"
    assert sizes == [100, 100, 50]
    assert names == [f"Model {number:03}" for number in range(1, 251)]


def test_a_refresh_moves_its_models_to_the_front() -> None:
    """What was refreshed was updated last: the default order shifts while refreshes run, and the stamp tells the end."""
    counter = _counter()
    counter.refresh(model_id("Sales"))
    counter.now_s = 8.25
    assert _names(counter, "?modelKind=SHARED") == ["Sales", "Events"]
    record = counter.get(f"/models?modelId={model_id('Sales')}")[1]["records"][0]
    assert record["updatedAt"] == "2026-03-01T02:00:08.000Z"
    assert record["createdAt"] != record["updatedAt"]


def test_a_model_that_was_made_up_is_listed_from_then_on() -> None:
    """A uuid that `default_model` answers to is a model like others once it was asked for."""
    counter = _counter(default_model={})
    assert _names(counter, "?modelKind=SHARED") == ["Events", "Sales"]
    made_up = "7d0c5ad1-7d0d-4f2c-9a57-0c1f6e1f9a10"
    counter.refresh(made_up)
    assert _names(counter, "?modelKind=SHARED") == ["Model 7d0c5ad1", "Events", "Sales"]


@pytest.mark.parametrize(
    "query,words",
    [
        ("?limit=5", "400 Bad Request: Unrecognized key(s) in object: 'limit'"),
        ("?modelId=x", "400 Bad Request: modelId: Invalid uuid"),
        ("?modelId=", "400 Bad Request: modelId: Invalid uuid"),
        ("?modelKind=TABLE", "400 Bad Request: modelKind: Invalid enum value."),
        ("?include=topics", "400 Bad Request: include: Invalid enum value."),
        ("?sortField=size", "400 Bad Request: sortField: Invalid enum value."),
        ("?sortDirection=up", "400 Bad Request: sortDirection: Invalid enum value."),
        ("?includeDeleted=2", "400 Bad Request: includeDeleted: Invalid enum value."),
        ("?pageSize=0", "400 Bad Request: pageSize: Number must be greater than 0"),
        ("?pageSize=ten", "400 Bad Request: pageSize: Expected number, received nan"),
        ("?pageSize=%C2%B2", "400 Bad Request: pageSize: Expected number, received nan"),
        ("?cursor=20", "400 Bad Request: cursor: Invalid cursor"),
        ("?cursor=czz", "400 Bad Request: cursor: Invalid cursor"),
        ("?cursor=c999", "400 Bad Request: cursor: Invalid cursor"),
    ],
)
def test_a_wrong_parameter_of_the_list(query: str, words: str) -> None:
    """Unknown and wrong parameters are 400, in the server's words."""
    assert _counter().words(f"/models{query}").startswith(words)


def test_many_different_lists_do_not_pile_up() -> None:
    """Looking up hundreds of names gives each its own answer."""
    counter = Counter(limit={"kind": "none"}, generate=[{"count": 200}])
    assert all(_names(counter, f"?name=Model%20{number}") == [f"Model {number}"] for number in range(1, 201))


def test_connections_are_listed_whole() -> None:
    """The list holds every connection with the documented fields; a single one is found by its id."""
    counter = _counter()
    status, body = counter.get("/connections")
    assert status == 200
    assert [connection["name"] for connection in body["connections"]] == ["wh", "lake"]
    assert body["connections"][0] == {
        "id": WH,
        "name": "wh",
        "dialect": "snowflake",
        "database": "prod",
        "defaultSchema": "public",
        "baseRole": "CONNECTION_ADMIN",
        "createdAt": "2026-01-30T02:00:00.000Z",
        "updatedAt": "2026-01-30T02:00:00.000Z",
        "deletedAt": None,
        "branchConnectionEnvironmentOverridesUserAttr": False,
        "environmentConnectionSwitchesSchemaModel": False,
        "userAttributeNameForConnectionEnvironments": None,
        "userAttributeNameForConnectionsEnvironments": None,
        "userAttributeValuesForDefaultEnvironment": None,
    }
    assert counter.get(f"/connections/{WH.upper()}") == (200, {"connection": body["connections"][0]})


@pytest.mark.parametrize(
    "query,names",
    [
        ("?name=H", ["wh"]),
        ("?database=lake", ["lake"]),
        ("?dialect=bigquery,postgres", ["lake"]),
        ("?sortField=name", ["lake", "wh"]),
        ("?sortField=dialect&sortDirection=desc", ["wh", "lake"]),
        ("?includeDeleted=false", ["wh", "lake"]),
    ],
)
def test_connections_can_be_filtered(query: str, names: list[str]) -> None:
    """Name and database match in part, dialects as a list."""
    body = _counter().get(f"/connections{query}")[1]
    assert [connection["name"] for connection in body["connections"]] == names


@pytest.mark.parametrize(
    "target,words",
    [
        ("/connections?x=1", "400 Bad Request: formErrors: Unrecognized key(s) in object: 'x'"),
        ("/connections?dialect=dbase", "400 Bad Request: Invalid dialect(s): dbase"),
        ("/connections?sortField=id", "400 Bad Request: sortField: Invalid enum value."),
        ("/connections/x", "400 Bad Request: connectionId: Invalid uuid"),
        (f"/connections/{model_id('x')}", "404 Not Found: Connection not found"),
        (f"/connections/{WH}?x=1", "400 Bad Request: Unrecognized key(s) in object: 'x'"),
        (f"/connections/{LAKE}/schedules", "403 Forbidden: Insufficient permissions"),
        (f"/connections/{model_id('x')}/schedules", "404 Not Found: Connection not found"),
        ("/connection-environments?x=1", "400 Bad Request: Unrecognized key(s) in object: 'x'"),
        ("/whoami?x=1", "400 Bad Request: Unrecognized key(s) in object: 'x'"),
        (f"/whoami?modelId={WH}", f"404 Model with id {WH} does not exist"),
        ("/dashboards", "404 Not Found"),
        ("/models/", "404 Not Found"),
        (f"/models/{WH}", "404 Not Found"),
        (f"/models/{WH}/", "404 Not Found"),
        (f"/models/{WH}/topics", "404 Not Found"),
        (f"/models/{WH}/refresh/now", "404 Not Found"),
        (f"/models/{WH}/refresh", "405 Method Not Allowed"),
    ],
)
def test_other_refusals(target: str, words: str) -> None:
    """What is not there is 404, what is wrong 400, what may not be seen 403, another method 405."""
    assert _counter().words(target).startswith(words)


@pytest.mark.parametrize("path", ["/v1/models", "/", "/api", "/api/v1", "/api/v2/models", "/api/v1/models/%2F/schemas"])
def test_paths_outside_of_the_api(path: str) -> None:
    """The API lives below /api/v1; an encoded slash is no slash."""
    status = _counter().fate("GET", path).answer.status
    assert status == (400 if "%2F" in path else 404)


def test_the_other_method_is_named() -> None:
    """A 405 says which method there is."""
    assert _counter().fate("POST", "/api/v1/models").answer.headers == {"Allow": "GET"}


def test_schedules_of_a_connection() -> None:
    """Native schedules are told with their cron fields, time zone, hardness and whether they are off."""
    schedules = [
        {"schedule": "0 2 * * ? *", "timezone": "Europe/Berlin"},
        {"schedule": "0 4 * * ? *", "hard_refresh": True, "disabled": True},
    ]
    counter = _counter(connections=[{"name": "wh", "schedules": schedules}])
    listed: Any = counter.get(f"/connections/{WH}/schedules")[1]["schedules"]
    assert [
        (entry["schedule"], entry["timezone"], entry["hardRefresh"], entry["disabledAt"] is None) for entry in listed
    ] == [
        ("0 2 * * ? *", "Europe/Berlin", False, True),
        ("0 4 * * ? *", "UTC", True, False),
    ]
    assert len({entry["scheduleId"] for entry in listed}) == 2
    assert {entry["connectionId"] for entry in listed} == {WH}


def test_connection_environments() -> None:
    """Environments are told with their connections and values; the base connection says that it has some."""
    counter = _counter(environments=[{"base": "wh", "connection": LAKE, "values": ["dev"]}])
    (environment,) = counter.get("/connection-environments")[1]["connectionEnvironments"]
    assert environment.pop("id")
    assert environment == {"baseConnectionId": WH, "connectionId": LAKE, "userAttributeValues": ["dev"]}
    switches = "environmentConnectionSwitchesSchemaModel"
    assert [c[switches] for c in counter.get("/connections")[1]["connections"]] == [True, False]


def test_who_am_i() -> None:
    """Roles are told for each model that has roles of its own, or for those that are asked for."""
    counter = _counter()
    status, body = counter.get("/whoami")
    assert status == 200
    assert body["rolesByModel"].keys() == {model_id(n) for n in ("Sales", "sales emea", "Schema", "Events", "Old")}
    assert "rolesByModelTruncated" not in body
    events = model_id("Events")
    assert counter.get(f"/whoami?modelId={events}")[1]["rolesByModel"] == {
        events: {
            "baseRole": "MODELER",
            "roleName": "MODELER",
            "connectionId": LAKE,
            "permissions": body["rolesByModel"][events]["permissions"],
        }
    }
    assert "UPDATE" in body["rolesByModel"][events]["permissions"]


@pytest.mark.parametrize(
    "role,may", [("NO_ACCESS", False), ("VIEWER", False), ("QUERY_TOPICS", True), ("QUERIER", True)]
)
def test_lesser_roles_may_less(role: str, may: bool) -> None:
    """The permissions of a role grow with it."""
    counter = Counter(models=[{"name": "x", "connection": {"role": role}}])
    (told,) = counter.get("/whoami")[1]["rolesByModel"].values()
    assert ("QUERY_TOPICS" in told["permissions"]) is may


def test_roles_of_many_models_are_cut() -> None:
    """Without a filter the roles of 100 models are told, and that there are more."""
    counter = Counter(generate=[{"count": 101}])
    body = counter.get("/whoami")[1]
    assert len(body["rolesByModel"]) == 100
    assert body["rolesByModelTruncated"] is True


def test_a_model_may_build_on_a_generated_one_and_bring_a_connection_by_id() -> None:
    """A base is found among listed and generated models, by name or id; a connection may be known by its id alone."""
    other = "7d0c5ad1-7d0d-4f2c-9a57-0c1f6e1f9a10"
    models = [
        {"name": "a", "kind": "SHARED_EXTENSION", "base": "Model 2", "connection": {"id": other}},
        {"name": "b", "kind": "SHARED_EXTENSION", "base": model_id("Model 1").upper(), "connection": other.upper()},
    ]
    counter = Counter(models=models, generate=[{"count": 2}])
    records = {record["name"]: record for record in counter.get("/models")[1]["records"]}
    assert records["a"]["baseModelId"] == model_id("Model 2")
    assert records["b"]["baseModelId"] == model_id("Model 1")
    assert records["a"]["connectionId"] == records["b"]["connectionId"] == other
    assert counter.get(f"/connections/{other}")[1]["connection"]["name"] == "Connection 7d0c5ad1"


def test_a_uuid_among_branches_is_name_and_id() -> None:
    """A manifest that names a branch by its id finds it where the scenario lists that id."""
    other = "7d0c5ad1-7d0d-4f2c-9a57-0c1f6e1f9a10"
    counter = Counter(models=[{"name": "a", "branches": [other.upper()], "connection": {"branch_based": True}}])
    assert counter.refresh(model_id("a"), f"?branch_id={other}")[0] == 200
    assert counter.get("/models?modelKind=BRANCH")[1]["records"][0]["name"] == other.upper()
