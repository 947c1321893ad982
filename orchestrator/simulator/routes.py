"""Routes each call to the function that answers it: 404 for unknown paths, 405 for other methods."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from orchestrator.simulator import connections, content, model_views, refreshing
from orchestrator.simulator.answer import Answer, ApiError, SimulatedInstance, SimulatedRequest, error_body
from orchestrator.simulator.model_lists import ModelLists

T = TypeVar("T")

_OneId = Callable[[SimulatedInstance, SimulatedRequest, str], Answer]
_NoId = Callable[[SimulatedInstance, SimulatedRequest], Answer]

_WITH_ID: dict[tuple[str, str], dict[str, _OneId]] = {
    ("models", "refresh"): {"POST": refreshing.start_refresh},
    ("models", "dbt-sync"): {"POST": refreshing.start_dbt_sync},
    ("jobs", "status"): {"GET": refreshing.tell_status},
    ("models", "schemas"): {"GET": model_views.list_schemas},
    ("models", "validate"): {"GET": model_views.validate},
    ("models", "content-validator"): {"GET": content.validate_content},
    ("models", "view"): {"GET": model_views.list_views},
    ("models", "yaml"): {"GET": model_views.show_files},
    ("connections", ""): {"GET": connections.show_connection},
    ("connections", "schedules"): {"GET": connections.list_schedules},
}
"""Paths `/api/v1/{noun}/{id}/{verb}`."""


class Routes:
    """The whole API of one instance."""

    def __init__(self, instance: SimulatedInstance) -> None:
        self._instance = instance
        models = ModelLists(instance)
        self._plain: dict[str, dict[str, _NoId]] = {
            "models": {"GET": lambda _, ask: models.page(ask)},
            "connections": {"GET": connections.list_connections},
            "connection-environments": {"GET": connections.list_environments},
            "whoami": {"GET": connections.who_am_i},
        }
        """Paths `/api/v1/{noun}`."""

    def answer(self, ask: SimulatedRequest) -> Answer:
        """The answer to a call whose key was accepted and whose limit was not used up."""
        try:
            return self._dispatch(ask)
        except ApiError as error:
            answer = self.error(error.status, error.message)
            return replace(answer, headers=error.headers, model=error.model)

    def error(self, status: int, message: str) -> Answer:
        """An error in the instance's shape."""
        return Answer(status=status, body=error_body(self._instance.answers.error_shape, status, message))

    def _dispatch(self, ask: SimulatedRequest) -> Answer:
        path = ask.path
        if path == ("openapi.json",) and self._instance.answers.api_document:
            return _chosen({"GET": _describe}, ask)(self._instance)
        if len(path) > 2 and path[:2] == ("api", "v1"):
            noun, *rest = path[2:]
            if len(rest) == 2 and rest[1] and (by_method := _WITH_ID.get((noun, rest[1]))):
                return _chosen(by_method, ask)(self._instance, ask, rest[0])
            if len(rest) == 1 and (by_method := _WITH_ID.get((noun, ""))):
                return _chosen(by_method, ask)(self._instance, ask, rest[0])
            if not rest and (plain := self._plain.get(noun)):
                return _chosen(plain, ask)(self._instance, ask)
        raise ApiError(404, "Not Found")


def _chosen(by_method: dict[str, T], ask: SimulatedRequest) -> T:
    chosen = by_method.get(ask.method)
    if chosen is None:
        raise ApiError(405, "Method Not Allowed", headers={"Allow": ", ".join(by_method)})
    return chosen


def _describe(instance: SimulatedInstance) -> Answer:
    """GET /openapi.json: the paths and methods of the API, and the query parameters of the refresh call."""
    paths: dict[str, dict[str, object]] = {}
    for (noun, verb), by_method in _WITH_ID.items():
        path = f"/api/v1/{noun}/{{id}}" + (f"/{verb}" if verb else "")
        paths[path] = {method.lower(): {"responses": {"200": {"description": "OK"}}} for method in by_method}
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        for name in instance.answers.refresh_parameters
    ]
    paths["/api/v1/models/{id}/refresh"]["post"] = {
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
    }
    if not instance.answers.dbt_sync:
        del paths["/api/v1/models/{id}/dbt-sync"]
    info = {"title": "Simulated Omni API", "version": "1"}
    return Answer(status=200, body={"openapi": "3.1.0", "info": info, "paths": paths})
