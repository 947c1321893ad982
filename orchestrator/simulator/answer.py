"""What the simulated API is asked, and what it answers: values, before any HTTP."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus

from orchestrator.simulator.scenario import Answers
from orchestrator.simulator.staging import Stage
from orchestrator.simulator.world import LiveModel, SimulatedJob

LIMIT_TEXT = "Too Many Requests: Rate limit exceeded (60 requests/minute)"
"""The message of the documented 429. It stays the same if a scenario sets another limit."""

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_AGE_S = 30 * 86400.0
"""The first model is this much older than the simulator; each next one is a second younger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRequest:
    """One call: `path` is split at slashes and decoded, `query` holds each parameter's last value."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    now_s: float
    effect_delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status and a body: JSON, or `raw` text of `content_type`; with what the call log records about it."""

    status: int
    body: object = None
    raw: str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    model: LiveModel | None = None
    job: SimulatedJob | None = None
    job_status: str | None = None
    tells_end: bool = False
    is_start: bool = False
    is_limit: bool = False


class ApiError(Exception):
    """An answer other than 200: its status and the server's words."""

    def __init__(
        self, status: int, message: str, *, model: LiveModel | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.model = model
        self.headers = headers or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedInstance:
    """What every part of the API needs: the state, the forms of answers, and when the simulator started."""

    stage: Stage
    answers: Answers
    refuses_overlap: bool
    started_at: datetime

    def stamp(self, since_start_s: float) -> str:
        """A moment as the API writes it: ISO 8601, milliseconds, `Z`."""
        at = self.started_at + timedelta(seconds=since_start_s)
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"

    def created(self, order: int) -> str:
        """When the object with this number was created: an object that is listed earlier is older."""
        return self.stamp(order - _AGE_S)

    def model(self, model_id: str, *, missing: str = "Model with id {id} does not exist") -> LiveModel:
        """The model of this id. Raises ApiError 400 or 404."""
        self.require_uuid("modelId", model_id)
        model = self.stage.find_model(model_id)
        if model is None:
            raise ApiError(404, missing.format(id=model_id))
        return model

    def require_uuid(self, parameter: str, value: str) -> None:
        """Raise ApiError 400 unless `value` is a uuid."""
        if not UUID.fullmatch(value):
            raise ApiError(400, f"Bad Request: {parameter}: Invalid uuid")


def require_known(query: Mapping[str, str], known: frozenset[str], *, prefix: str = "") -> None:
    """Raise ApiError 400 for parameters that an endpoint does not have."""
    if unknown := [name for name in query if name not in known]:
        names = ", ".join(f"'{name}'" for name in unknown)
        raise ApiError(400, f"Bad Request: {prefix}Unrecognized key(s) in object: {names}")


def require_choice(query: Mapping[str, str], parameter: str, choices: tuple[str, ...], default: str) -> str:
    """A parameter that is one of some words. Raises ApiError 400 for others."""
    value = query.get(parameter, default)
    if value not in choices:
        expected = " | ".join(f"'{choice}'" for choice in choices)
        raise ApiError(400, f"Bad Request: {parameter}: Invalid enum value. Expected {expected}, received '{value}'")
    return value


def require_flag(
    query: Mapping[str, str], parameter: str, *, default: bool = False, digits: tuple[str, ...] = ()
) -> bool:
    """A parameter that is `true` or `false`, or one of `digits` ("1", "0") if it takes them. Raises ApiError 400 for anything
    else.
    """
    value = require_choice(query, parameter, ("true", "false", *digits), "true" if default else "false")
    return value in {"true", "1"}


def require_count(query: Mapping[str, str], parameter: str, default: int) -> int:
    """A parameter that is a whole number above 0. Raises ApiError 400 for anything else."""
    text = query.get(parameter)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal():
        raise ApiError(400, f"Bad Request: {parameter}: Expected number, received nan")
    if not int(text[:9]):
        raise ApiError(400, f"Bad Request: {parameter}: Number must be greater than 0")
    return int(text[:9])


def error_body(shape: str, status: int, message: str) -> dict[str, object]:
    """An error in one of the four documented shapes."""
    if shape == "message":
        return {"error": str(status), "message": message}
    if shape == "error":
        return {"error": message}
    detail: dict[str, object] = {"detail": message, "status": status}
    return {**detail, "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"]} if shape == "scim" else detail


def usual_words(status: int) -> str:
    """Return the default words of an error of this status."""
    documented = {
        401: "Unauthorized: Missing or invalid API key",
        403: "Forbidden: Insufficient permissions",
        429: LIMIT_TEXT,
    }
    try:
        return documented.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def page(status: int, title: str) -> str:
    """An error page as a proxy in front of the API sends it."""
    return f"<html><head><title>{status} {title}</title></head><body><h1>{status} {title}</h1></body></html>\n"
