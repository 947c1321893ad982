"""An instance's own OpenAPI document: what is read of it, and how it is asked for."""

import asyncio
import json

import pytest

from orchestrator.manifest.manifest import Instance, Secret
from orchestrator.omni.api_document import read_api_document
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallErrorKind, Refused
from orchestrator.omni.fields import UnreadableAnswer
from orchestrator.simulator import virtual
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator

KEY = Secret("a-key-of-the-simulator")


def query(*names: str) -> list[dict[str, object]]:
    """Parameters of these names."""
    return [{"name": name, "in": "query"} for name in names]


@pytest.mark.parametrize(
    "path", ["/v1/models/{modelId}/refresh", "/api/v1/models/{id}/refresh", "/models/{m}/refresh/"]
)
def test_the_parameters_of_the_refresh_call(path: str) -> None:
    """Those of the operation, of the path and of shared components; neither a path's nor a header's."""
    document = {
        "paths": {
            path: {
                "parameters": [{"$ref": "#/components/parameters/Branch"}, {"name": "modelId", "in": "path"}],
                "post": {"parameters": [*query("hard_refresh"), {"name": "X-Trace", "in": "header"}, "odd", {}]},
            },
            "/v1/models/{modelId}/dbt-sync": {"post": {}},
        },
        "components": {"parameters": {"Branch": {"name": "branch_id", "in": "query"}}},
    }
    found = read_api_document(json.dumps(document).encode())
    assert found.refresh_parameters == ("branch_id", "hard_refresh")
    assert found.knows_dbt_sync


@pytest.mark.parametrize(
    "document", ["[]", "{}", '{"paths": []}', '{"paths": {"/v1/models/{id}/refresh": {"get": {}}}}', "<html>", ""]
)
def test_a_document_that_says_nothing(document: str) -> None:
    """Anything without the refresh call is unreadable, not an instance that takes no parameters."""
    with pytest.raises(UnreadableAnswer):
        read_api_document(document.encode())


def ask(fault: dict[str, object]) -> Refused:
    """How a client's question for the document is refused."""

    async def main() -> Refused:
        utcnow = virtual.utcnow_of(asyncio.get_running_loop())
        async with Simulator(make_scenario(faults=[fault]), utcnow=utcnow) as simulator:
            instance = Instance(name="prod", base_url=simulator.url, keys=())
            async with OmniClient(instance, utcnow=utcnow, user_agent="test") as omni:
                with pytest.raises(Refused) as caught:
                    await omni.api_document(KEY)
                (call,) = simulator.calls
                assert (call.method, call.path, call.query) == ("GET", "/openapi.json", {})
        return caught.value

    return virtual.run(main())


def test_a_refusal_says_nothing_about_the_key() -> None:
    """401 for this page does not set the key aside, as it would for the API."""
    assert ask({"path": "/openapi.json", "always": True, "status": 401}).kind is CallErrorKind.FORBIDDEN
    assert ask({"path": "/openapi.json", "always": True, "status": 404}).kind is CallErrorKind.NOT_FOUND
