"""Decides the answer to each call without waiting, by key, limit, fault rules and routes, and records it."""

import email.utils
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qsl, unquote

from orchestrator.simulator.answer import LIMIT_TEXT, Answer, SimulatedInstance, SimulatedRequest, page, usual_words
from orchestrator.simulator.calls import Call, CallLog, key_label
from orchestrator.simulator.faults import InjectedFault, Rules
from orchestrator.simulator.field_types import draw_s
from orchestrator.simulator.limits import RequestLimit, retry_after
from orchestrator.simulator.routes import Routes
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A call as it came over the wire; `target` is path and query string, still encoded."""

    method: str
    target: str
    key: str | None
    user_agent: str
    body_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsePlan:
    """The result of a call: the answer and its delay in seconds; complete, or dropped in some way."""

    answer: Answer
    after_s: float = 0.0
    drop: Literal["reset", "close", "headers", "body"] | None = None
    close_after_s: float | None = None


class RequestHandler:
    """Decides about calls. `utcnow` gives timestamps; all other times are the caller's seconds since the simulator started."""

    def __init__(self, scenario: Scenario, *, seed: int, utcnow: Callable[[], datetime], log: CallLog) -> None:
        self.stage = Stage(scenario, seed)
        self._scenario = scenario
        self._utcnow = utcnow
        self._log = log
        self._gate = RequestLimit(scenario.limit, scenario.keys)
        self._rules = Rules(scenario.faults, seed)
        self._dated = (-1, "")
        self._latency_dice = random.Random(f"{seed}/latency")
        instance = SimulatedInstance(
            stage=self.stage,
            answers=scenario.answers,
            refuses_overlap=scenario.overlap == "refuse",
            started_at=utcnow(),
        )
        self._routes = Routes(instance)

    def draw_ways_s(self) -> tuple[float, float]:
        """Seconds that the next call takes to the server, and its answer back."""
        if not self._scenario.latency:
            return 0.0, 0.0
        whole_s = draw_s(self._scenario.latency, self._latency_dice)
        there_s = whole_s * self._latency_dice.random()
        return there_s, whole_s - there_s

    def http_date(self, in_s: float = 0.0) -> str:
        """The server's date that many seconds ahead, rounded up to a whole second, as HTTP writes it."""
        at = self._utcnow() + timedelta(seconds=in_s + self._scenario.answers.clock_offset)
        second = int(at.timestamp()) + (1 if at.microsecond and in_s else 0)
        if second != self._dated[0]:
            self._dated = second, email.utils.formatdate(second, usegmt=True)
        return self._dated[1]

    def decide(self, incoming: Incoming, now_s: float, way_back_s: float) -> ResponsePlan:
        """Return the result of a call that arrives at `now_s`. It counts, takes effect and is recorded now."""
        path, _, query_string = incoming.target.partition("?")
        pairs = parse_qsl(query_string, keep_blank_values=True) if query_string else []
        ask = SimulatedRequest(method=incoming.method, path=_segments(path), query=dict(pairs), now_s=now_s)
        label: str | None = None
        if (refused := self._refuse(incoming, now_s)) is not None:
            plan = ResponsePlan(answer=refused)
        elif (picked := self._rules.pick(incoming.method, path, now_s)) is not None:
            label, fault = picked
            plan = self._spoil(fault, ask)
        elif len(ask.query) < len(pairs):
            names = [name for name, _ in pairs]
            doubled = next(name for name in names if names.count(name) > 1)
            plan = ResponsePlan(
                answer=self._routes.error(400, f"Bad Request: {doubled}: Expected string, received array")
            )
        else:
            plan = ResponsePlan(answer=self._routes.answer(ask))
        if way_back_s:
            plan = replace(plan, after_s=plan.after_s + way_back_s)
        self._log.record(self._record(incoming, ask, plan, label))
        return plan

    def _refuse(self, incoming: Incoming, now_s: float) -> Answer | None:
        """Return the refusal for the URL's length (not counted by the limit), the key or the limit; None if there is none."""
        if len(incoming.target) > self._scenario.max_url:
            return Answer(status=414, raw=page(414, "Request-URI Too Large"), content_type="text/html")
        if not self._gate.knows(incoming.key, now_s):
            if self._scenario.answers.bad_key == "invalid_token" and incoming.key:
                return self._routes.error(403, "Invalid bearer token")
            return self._routes.error(401, usual_words(401))
        wait_s = self._gate.wait_s(incoming.key or "", now_s)
        if not wait_s:
            return None
        limit = self._scenario.limit
        wait_header = retry_after(limit.retry_after, wait_s, self.http_date)
        headers = {} if wait_header is None else {"Retry-After": wait_header}
        if limit.body == "html":
            raw = page(429, "Too Many Requests")
            return Answer(status=429, raw=raw, content_type="text/html", headers=headers, is_limit=True)
        return replace(self._routes.error(429, LIMIT_TEXT), headers=headers, is_limit=True)

    def _spoil(self, fault: InjectedFault, ask: SimulatedRequest) -> ResponsePlan:
        """Apply a fault rule. A read is answered as usual, then changed; a refresh starts only if the rule says so."""
        if ask.method == "GET" or fault.starts != "none":
            delay_s = fault.delay if fault.starts == "after" else 0.0
            regular = self._routes.answer(replace(ask, effect_delay_s=delay_s))
        else:
            regular = Answer(status=200, body={"status": "running"})
        answer = regular if fault.status is None else self._replaced(regular, fault, fault.status)
        if fault.headers:
            answer = replace(answer, headers={**answer.headers, **fault.headers})
        if fault.drop is not None:
            answer = replace(answer, job_status=None, tells_end=False)
        return ResponsePlan(answer=answer, after_s=fault.delay, drop=fault.drop, close_after_s=fault.close_after)

    def _replaced(self, regular: Answer, fault: InjectedFault, status: int) -> Answer:
        """Return the rule's own answer; the log keeps the regular answer's model and job."""
        content_type = fault.content_type or ("application/json" if fault.raw is None else "text/html")
        own = replace(regular, status=status, content_type=content_type, job_status=None, tells_end=False, headers={})
        if fault.raw is not None:
            return replace(own, raw=fault.raw)
        if "body" in fault.model_fields_set:
            return replace(own, raw=json.dumps(fault.body))
        if fault.message is not None or status >= HTTPStatus.BAD_REQUEST:
            return replace(own, body=self._routes.error(status, fault.message or usual_words(status)).body, raw=None)
        return replace(own, body={}, raw=None)

    def _record(self, incoming: Incoming, ask: SimulatedRequest, plan: ResponsePlan, fault: str | None) -> Call:
        """Make the log's record of a call."""
        path, _, query_string = incoming.target.partition("?")
        answer = plan.answer
        job = answer.job
        ends = job is not None and job.ends_s != math.inf
        return Call(
            number=len(self._log.calls) + 1,
            t_s=ask.now_s,
            key=key_label(incoming.key),
            method=incoming.method,
            path=path,
            query=ask.query,
            query_string=query_string,
            url_bytes=len(incoming.target),
            body_bytes=incoming.body_bytes,
            user_agent=incoming.user_agent,
            status=answer.status if plan.drop is None else None,
            limited=answer.is_limit,
            retry_after=answer.headers.get("Retry-After"),
            fault=fault,
            answer_after_s=plan.after_s,
            model_id=answer.model.id if answer.model else None,
            connection_id=answer.model.connection.id if answer.model else None,
            branch_id=job.branch_id if job else None,
            accepted=answer.is_start,
            job_id=job.id if job else None,
            job_status=answer.job_status,
            tells_end=answer.tells_end,
            started_s=job.started_s if job else None,
            finished_s=job.ends_s if job and ends else None,
            duration_s=job.duration_s if job and ends else None,
        )


def _segments(path: str) -> tuple[str, ...]:
    parts = path.removeprefix("/").split("/")
    return tuple(unquote(part) for part in parts) if "%" in path else tuple(parts)
