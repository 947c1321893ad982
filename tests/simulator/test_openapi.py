"""The simulator's answers are those of the OpenAPI file, in each form, for right questions and for wrong ones."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import serve
from orchestrator.simulator.staging import branch_id, connection_id, model_id
from tests.simulator.conversation import Counter

FILE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "omni-openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.load(FILE.read_bytes(), yaml.CSafeLoader)

KEY = "the-key-of-the-fuzzer"
SECTIONS: dict[str, Any] = {
    "keys": [KEY],
    "limit": {"kind": "none"},
    "connections": [
        {"name": "wh", "schemas": {"a": ["x"], "b": []}, "schedules": [{"schedule": "0 2 * * ? *"}]},
        {"name": "branched", "branch_based": True, "default_schema": "public"},
        {"name": "closed", "role": "NO_ACCESS"},
    ],
    "environments": [{"base": "wh", "connection": "branched", "values": ["eu"]}],
    "models": [
        {
            "name": "sales",
            "connection": "wh",
            "issues": [{"message": "m", "yaml_path": "p"}, {"message": "w", "is_warning": True}],
            "documents": [
                {
                    "name": "d",
                    "folder": "/R",
                    "queries": [{"name": "q", "fields": ["a__x.id"]}],
                    "filters": ["gone.id"],
                },
            ],
        },
        {"name": "schema", "connection": "wh", "kind": "SCHEMA"},
        {"name": "extension", "connection": "wh", "kind": "SHARED_EXTENSION", "base": "sales"},
        {"name": "finance", "connection": "branched", "branches": ["nightly"]},
        {"name": "hidden", "connection": "closed"},
        {"name": "old", "deleted": True},
    ],
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A simulator in a thread of its own, in real time: the fuzzer's client is a blocking one."""
    listening: list[str] = []
    stop: list[Callable[[], object]] = []
    ready = threading.Event()

    def told(address: str) -> None:
        listening.append(address)
        ready.set()

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        stop.append(lambda: loop.call_soon_threadsafe(task.cancel))
        with suppress(asyncio.CancelledError):
            await serve(make_scenario(**SECTIONS), utcnow=lambda: datetime.now(UTC), ready=told)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(5)
    yield listening[0]
    stop[0]()
    thread.join(5)


OPERATIONS = [(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods]


@pytest.mark.parametrize("method,path", OPERATIONS)
def test_whatever_is_asked_the_answer_is_documented(method: str, path: str, url: str) -> None:
    """Right, wrong and odd questions: status, type, headers and body are those of the file; a wrong key is refused."""
    # each worker collects this file, and the import takes seconds
    import schemathesis
    from schemathesis import GenerationMode, checks

    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method]
    session = requests.Session()

    @settings(max_examples=30, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode]))
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(
            base_url=f"{url}/api",
            session=session,
            headers={"Authorization": f"Bearer {KEY}"},
            # A right question may be refused (a branch where there are none), and what was made wrong may be mended on
            # its way (a parameter without a name): both are tested by hand.
            excluded_checks=[checks.positive_data_acceptance, checks.negative_data_rejection],
        )

    with session:
        ask()


def _documented(method: str, path: str, status: int) -> jsonschema.Draft202012Validator:
    """The file's schema of an answer."""
    answer = DOCUMENT["paths"][path][method]["responses"][str(status)]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema = answer["content"]["application/json"]["schema"]
    return jsonschema.Draft202012Validator({**DOCUMENT, **schema})


SALES, FINANCE, OTHER = model_id("sales"), model_id("finance"), "7d0c5ad1-7d0d-4f2c-9a57-0c1f6e1f9a10"
BRANCH = branch_id(FINANCE, "nightly")
CONTENT = "/v1/models/{modelId}/content-validator"
ASKED: list[tuple[str, str, str, int]] = [
    ("post", "/v1/models/{modelId}/refresh", f"/v1/models/{SALES}/refresh?hard_refresh=false&schemas=a", 200),
    ("post", "/v1/models/{modelId}/refresh", f"/v1/models/{FINANCE}/refresh?branch_id={BRANCH}", 200),
    ("post", "/v1/models/{modelId}/refresh", f"/v1/models/{FINANCE}/refresh", 400),
    ("post", "/v1/models/{modelId}/refresh", f"/v1/models/{model_id('hidden')}/refresh", 403),
    ("post", "/v1/models/{modelId}/refresh", f"/v1/models/{OTHER}/refresh", 404),
    ("post", "/v1/models/{modelId}/refresh", f"/v1/models/{model_id('extension')}/refresh", 409),
    ("post", "/v1/models/{modelId}/dbt-sync", f"/v1/models/{FINANCE}/dbt-sync?branch_id={BRANCH}", 200),
    ("post", "/v1/models/{modelId}/dbt-sync", f"/v1/models/{FINANCE}/dbt-sync", 400),
    (
        "post",
        "/v1/models/{modelId}/dbt-sync",
        f"/v1/models/{FINANCE}/dbt-sync?branch_id={BRANCH}&hard_refresh=true",
        400,
    ),
    ("post", "/v1/models/{modelId}/dbt-sync", f"/v1/models/{OTHER}/dbt-sync?branch_id={BRANCH}", 404),
    ("get", "/v1/jobs/{jobId}/status", "/v1/jobs/{job}/status", 200),
    ("get", "/v1/jobs/{jobId}/status", "/v1/jobs/x/status", 400),
    ("get", "/v1/jobs/{jobId}/status", f"/v1/jobs/{OTHER}/status", 404),
    ("get", "/v1/models", "/v1/models?include=activeBranches&includeDeleted=true&pageSize=3", 200),
    ("get", "/v1/models", "/v1/models?pageSize=0", 400),
    ("get", "/v1/connections", "/v1/connections?name=wh", 200),
    ("get", "/v1/connections", "/v1/connections?x=1", 400),
    ("get", "/v1/connections/{connectionId}", f"/v1/connections/{connection_id('wh')}", 200),
    ("get", "/v1/connections/{connectionId}", f"/v1/connections/{OTHER}", 404),
    ("get", "/v1/models/{modelId}/schemas", f"/v1/models/{SALES}/schemas", 200),
    ("get", "/v1/models/{modelId}/schemas", f"/v1/models/{model_id('hidden')}/schemas", 403),
    ("get", "/v1/models/{modelId}/validate", f"/v1/models/{SALES}/validate", 200),
    ("get", "/v1/models/{modelId}/validate", f"/v1/models/{SALES}/validate?branch_id={BRANCH}", 400),
    ("get", "/v1/models/{modelId}/validate", f"/v1/models/{SALES}/validate?branchId={OTHER}", 404),
    ("get", "/v1/models/{modelId}/validate", f"/v1/models/{SALES}/validate?limit=1", 200),
    ("get", CONTENT, f"/v1/models/{SALES}/content-validator?content_filter_mode=WITH_ISSUES", 200),
    ("get", CONTENT, f"/v1/models/{SALES}/content-validator?find=a__x.id&find_type=FIELD", 200),
    ("get", CONTENT, f"/v1/models/{FINANCE}/content-validator?branch_id={BRANCH}", 200),
    ("get", CONTENT, f"/v1/models/{SALES}/content-validator?find=id&find_type=FIELD", 400),
    ("get", CONTENT, f"/v1/models/{model_id('hidden')}/content-validator", 403),
    ("get", CONTENT, f"/v1/models/{model_id('schema')}/content-validator", 404),
    ("get", "/v1/models/{modelId}/yaml", f"/v1/models/{SALES}/yaml?mode=merged&includeChecksums=true", 200),
    ("get", "/v1/models/{modelId}/yaml", f"/v1/models/{SALES}/yaml?mode=x", 400),
    ("get", "/v1/models/{modelId}/yaml", f"/v1/models/{model_id('hidden')}/yaml", 403),
    ("get", "/v1/connections/{connectionId}/schedules", f"/v1/connections/{connection_id('wh')}/schedules", 200),
    ("get", "/v1/connections/{connectionId}/schedules", f"/v1/connections/{connection_id('closed')}/schedules", 403),
    ("get", "/v1/connection-environments", "/v1/connection-environments", 200),
    ("get", "/v1/whoami", f"/v1/whoami?modelId={SALES}", 200),
    ("get", "/v1/whoami", f"/v1/whoami?modelId={OTHER}", 404),
    ("post", "/v1/connections", "/v1/connections", 405),
]

FORMS: list[dict[str, object]] = [
    {},
    {"error_shape": "detail", "job_id": False, "schemas": "object"},
    {"error_shape": "scim", "issues": "object", "running": "IN_PROGRESS", "job_type": "REFRESH_SCHEMA"},
    {"error_shape": "error", "refresh_status": "queued"},
]


@pytest.mark.parametrize("answers", FORMS, ids=str)
def test_each_form_of_an_answer_is_documented(answers: dict[str, object]) -> None:
    """In each form that an instance may have, answers and errors are as the file describes them."""
    counter = Counter(**{**SECTIONS, "overlap": "refuse", "answers": answers})
    for method, path, target, status in ASKED:
        job = next((call.job_id for call in counter.calls), "")
        answer = counter.fate(method.upper(), f"/api{target.replace('{job}', str(job))}", key=KEY).answer
        assert answer.status == status, target
        asked_of = "get" if status == 405 else method
        _documented(asked_of, path, status).validate(json.loads(json.dumps(answer.body)))


@pytest.mark.parametrize("bad_key,status", [("unauthorized", 401), ("invalid_token", 403)])
def test_refused_keys_and_limited_calls_are_documented(bad_key: str, status: int) -> None:
    """A wrong key and a used-up limit are answered as the file describes them, on every path."""
    limit = {"requests": 1}
    for path, methods in DOCUMENT["paths"].items():
        counter = Counter(**{**SECTIONS, "limit": limit, "answers": {"bad_key": bad_key}})
        for method in (name for name in methods if name in {"get", "post"}):
            target = "/api" + path.replace("{modelId}", SALES).replace("{jobId}", OTHER)
            wrong = counter.fate(method.upper(), target, key="wrong").answer
            assert wrong.status == status
            _documented(method, path, status).validate(json.loads(json.dumps(wrong.body)))
            counter.fate(method.upper(), target, key=KEY)
            limited = counter.fate(method.upper(), target, key=KEY).answer
            _documented(method, path, limited.status).validate(json.loads(json.dumps(limited.body)))
            assert limited.status == 429


def test_each_path_is_described() -> None:
    """The file has each path that the program calls."""
    called = {
        *("/v1/models", "/v1/models/{modelId}/refresh", "/v1/jobs/{jobId}/status", "/v1/connections"),
        "/v1/models/{modelId}/dbt-sync",
        *("/v1/connections/{connectionId}", "/v1/connections/{connectionId}/schedules", "/v1/models/{modelId}/schemas"),
        *("/v1/models/{modelId}/validate", "/v1/models/{modelId}/yaml", "/v1/connection-environments", "/v1/whoami"),
        CONTENT,
    }
    assert set(DOCUMENT["paths"]) == called


def test_the_file_is_openapi() -> None:
    """The file names its version, and each answer that is not 200 has one of the four shapes of an error."""
    assert DOCUMENT["openapi"].startswith("3.1")
    for path, methods in DOCUMENT["paths"].items():
        for method in methods.values():
            for status in (int(status) for status in method["responses"]):
                if status != 200:
                    schema = _documented("post" if path.endswith(("/refresh", "/dbt-sync")) else "get", path, status)
                    assert schema.is_valid({"detail": "x", "status": status})
                    assert not schema.is_valid({"words": "x"})
