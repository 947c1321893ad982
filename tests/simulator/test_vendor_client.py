"""The vendor's own command line and clients generated from its API description work against the simulator."""

import asyncio
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from orchestrator.simulator.staging import connection_id, model_id
from tests.simulator.conversation import Counter

ANSWERS = {
    "error_shape": "detail",
    "running": "IN_PROGRESS",
    "job_type": "REFRESH_SCHEMA",
    "schemas": "object",
    "issues": "object",
}
"""The forms of answers that the vendor's command line knows."""

SECTIONS: dict[str, Any] = {
    "answers": ANSWERS,
    "limit": {"kind": "none"},
    "connections": [
        {"name": "wh", "dialect": "duckdb", "schemas": {"a": ["x", "y"]}, "schedules": [{"schedule": "0 2 * * ? *"}]},
        {"name": "stand-in"},
    ],
    "environments": [{"base": "wh", "connection": "stand-in", "values": ["eu"]}],
    "generate": [{"count": 150}],
    "models": [
        {
            "name": "sales",
            "connection": "wh",
            "branches": ["b"],
            "issues": [{"message": "m", "view": "v", "field": "f"}, {"message": "w", "is_warning": True}],
        },
        {"name": "old", "deleted": True},
    ],
}
SALES, WH = model_id("sales"), connection_id("wh")

TEXT, FLAG = {"type": "string"}, {"type": "boolean"}
TEXT_OR_NULL, FLAG_OR_NULL = {"type": ["string", "null"]}, {"type": ["boolean", "null"]}


def record(**fields: object) -> dict[str, object]:
    """An object with at least these fields, each of this type."""
    return {"type": "object", "required": list(fields), "properties": fields}


def listing(items: Mapping[str, object]) -> dict[str, object]:
    """An array that is not empty."""
    return {"type": "array", "minItems": 1, "items": items}


CONNECTION = record(
    **dict.fromkeys(("id", "name", "dialect"), TEXT),
    **dict.fromkeys(("baseRole", "database", "defaultSchema", "deletedAt"), TEXT_OR_NULL),
    branchConnectionEnvironmentOverridesUserAttr=FLAG_OR_NULL,
    environmentConnectionSwitchesSchemaModel=FLAG_OR_NULL,
    userAttributeNameForConnectionsEnvironments=TEXT_OR_NULL,
    userAttributeValuesForDefaultEnvironment={"type": ["array", "null"]},
)
SCHEDULE = record(
    **dict.fromkeys(
        ("scheduleId", "connectionId", "schedule", "timezone", "description", "createdAt", "updatedAt"), TEXT
    ),
    disabledAt=TEXT_OR_NULL,
)
ISSUE = record(message=TEXT, severity={"enum": ["error", "warning"]})
VIEW: dict[str, object] = {
    "type": "object",
    "required": ["fields", "name"],
    "properties": {"fields": {"type": "array"}, "name": TEXT, "label": TEXT, "description": TEXT, "hidden": FLAG},
}
MODEL = record(
    **dict.fromkeys(("id", "createdAt", "updatedAt"), TEXT),
    **dict.fromkeys(("baseModelId", "connectionId", "deletedAt", "modelKind", "name"), TEXT_OR_NULL),
)
PAGE = record(
    pageInfo=record(
        hasNextPage=FLAG, nextCursor=TEXT_OR_NULL, pageSize={"type": "number"}, totalRecords={"type": "number"}
    ),
    records=listing(MODEL),
)

REQUIRED: list[tuple[str, dict[str, object]]] = [
    ("/connections", record(connections=listing(CONNECTION))),
    (f"/connections/{WH}/schedules", record(schedules=listing(SCHEDULE))),
    (
        "/connection-environments",
        record(
            connectionEnvironments=listing(
                record(id=TEXT, baseConnectionId=TEXT, connectionId=TEXT, userAttributeValues={"type": "array"})
            )
        ),
    ),
    ("/models?include=activeBranches", PAGE),
    (f"/models/{SALES}/schemas", record(schemas=listing(TEXT))),
    (f"/models/{SALES}/validate", record(issues=listing(ISSUE), valid=FLAG)),
    (f"/models/{SALES}/view", record(success=FLAG, views=listing(VIEW))),
    (
        f"/models/{SALES}/yaml",
        record(files={"type": "object", "additionalProperties": TEXT}, version={"type": "number"}),
    ),
]
"""What a client that was generated from the vendor's description cannot do without."""


@pytest.mark.parametrize("target,schema", REQUIRED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_generated_client_finds_what_it_requires(target: str, schema: dict[str, object]) -> None:
    """Each answer has the fields that the vendor's description requires, with their types."""
    status, body = Counter(**SECTIONS).get(target)
    assert status == 200
    jsonschema.validate(json.loads(json.dumps(body)), schema)


@pytest.mark.parametrize(
    "target,found",
    [
        ("/models?name=old&includeDeleted=1", lambda body: len(body["records"]) == 1),
        ("/models?name=old&includeDeleted=0", lambda body: body["records"] == []),
        ("/models?pageSize=500", lambda body: len(body["records"]) == body["pageInfo"]["totalRecords"] > 150),
        ("/models?pageSize=120", lambda body: len(body["records"]) == 120 and body["pageInfo"]["hasNextPage"]),
        (f"/models/{SALES}/validate?limit=1", lambda body: len(body["issues"]) == 1 and not body["valid"]),
        (f"/models/{SALES}/yaml?mode=merged", lambda body: "a/a__x.view" in body["files"]),
        (f"/models/{SALES}/yaml?mode=history", lambda body: list(body["files"]) == ["model"]),
        ("/connections?dialect=duckdb", lambda body: [each["name"] for each in body["connections"]] == ["wh"]),
        ("/connections?dialect=sqlserver,singlestore", lambda body: body["connections"] == []),
    ],
)
def test_what_the_vendor_documents_is_accepted(target: str, found: Any) -> None:
    """Each parameter that the vendor's command line can send does what its description says."""
    status, body = Counter(**SECTIONS).get(target)
    assert status == 200
    assert found(body)


@pytest.mark.parametrize("limit", ["0", "-1", "x", ""])
def test_a_wrong_limit_is_refused(limit: str) -> None:
    """A limit of validation issues is a whole number above 0."""
    status, body = Counter(**SECTIONS).get(f"/models/{SALES}/validate?limit={limit}")
    assert (status, body["detail"].partition("limit: ")[0]) == (400, "Bad Request: ")


MALFORMED = [
    b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
    b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nX: a\x01b\r\n\r\n",
    b"POST /api/v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    b"POST /api/v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /api/v1/models?name=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[::1/api HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/models HTTP/1.1\r\n\r\n",
    b"GET /api/v1/models HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


def test_a_malformed_request_is_answered_400_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """What is not valid HTTP gets a 400 that says why; nothing of the HTTP library's is printed."""
    caplog.set_level(logging.INFO)

    async def main() -> list[bytes]:
        answers = []
        async with Simulator(make_scenario(), utcnow=lambda: datetime.now(UTC)) as simulator:
            port = int(simulator.url.rpartition(":")[2])
            for request in MALFORMED:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                answers.append(await reader.readline())
                writer.close()
                await writer.wait_closed()
        return answers

    answers = asyncio.run(main())
    assert [answer.split(b" ", 1)[1] for answer in answers] == [b"400 Bad Request\r\n"] * len(MALFORMED)
    assert [line.message for line in caplog.records if line.name.startswith("aiohttp")] == []
