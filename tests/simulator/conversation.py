"""Talking to a simulated instance: at its desk without HTTP, or over real HTTP in virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from orchestrator.simulator import virtual
from orchestrator.simulator.calls import Call, CallLog
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.request_handler import Incoming, RequestHandler, ResponsePlan
from orchestrator.simulator.server import Simulator
from orchestrator.simulator.staging import model_id

T = TypeVar("T")

KEY = "a-key-of-the-simulator"
SALES = model_id("sales")
MODELS = [{"name": "sales", "duration": 8}]
"""What `talk_to` talks to: one model, whose refresh takes eight seconds."""

STARTED_AT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


class Counter:
    """A desk and what it was asked; `now_s` is set by the test."""

    def __init__(self, seed: int = 0, **sections: object) -> None:
        self.log = CallLog()
        self.desk = RequestHandler(make_scenario(**sections), seed=seed, utcnow=lambda: STARTED_AT, log=self.log)
        self.now_s = 0.0

    def fate(self, method: str, target: str, *, key: str | None = KEY) -> ResponsePlan:
        """The result of one call."""
        incoming = Incoming(method=method, target=target, key=key, user_agent="test", body_bytes=0)
        return self.desk.decide(incoming, self.now_s, 0.0)

    def get(self, target: str, *, key: str | None = KEY) -> tuple[int, Any]:
        """Status and body of a read below `/api/v1`."""
        return self._told(self.fate("GET", f"/api/v1{target}", key=key))

    def refresh(self, model_id: str, query: str = "", *, key: str | None = KEY) -> tuple[int, Any]:
        """Status and body of a refresh."""
        return self._told(self.fate("POST", f"/api/v1/models/{model_id}/refresh{query}", key=key))

    def words(self, target: str) -> str:
        """What a refused read is told, with its status."""
        status, body = self.get(target)
        return f"{status} {body['message']}"

    def refusal(self, model_id: str, query: str = "") -> str:
        """What a refused refresh is told, with its status."""
        status, body = self.refresh(model_id, query)
        return f"{status} {body['message']}"

    @property
    def calls(self) -> Sequence[Call]:
        """The call log."""
        return self.log.calls

    def _told(self, fate: ResponsePlan) -> tuple[int, Any]:
        answer = fate.answer
        return answer.status, answer.raw if answer.raw is not None else json.loads(json.dumps(answer.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back over HTTP, and when on the loop's clock."""

    status: int
    headers: dict[str, str]
    body: bytes
    took_s: float

    @property
    def data(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Caller:
    """A client of a simulator that runs in the same loop; redirects are not followed."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def call(self, method: str, target: str, *, key: str | None = KEY) -> Reply:
        """One call. `target` is sent as it is. Raises aiohttp's errors."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = URL(self.url + target, encoded=True)
        async with self._session.request(method, url, headers=headers, allow_redirects=False) as reply:
            body = await reply.read()
            return Reply(status=reply.status, headers=dict(reply.headers), body=body, took_s=loop.time() - began)

    async def get(self, target: str) -> Reply:
        """One read below `/api/v1`."""
        return await self.call("GET", f"/api/v1{target}")

    async def refresh(self, model_id: str, query: str = "") -> Reply:
        """One refresh."""
        return await self.call("POST", f"/api/v1/models/{model_id}/refresh{query}")


@asynccontextmanager
async def talking(seed: int | None = None, **sections: Any) -> AsyncIterator[tuple[Simulator, Caller]]:
    """A simulator of a scenario with these sections, and a client of it, in the running virtual loop."""
    utcnow = virtual.utcnow_of(asyncio.get_running_loop())
    async with (
        Simulator(make_scenario(**sections), utcnow=utcnow, seed=seed) as simulator,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        yield simulator, Caller(session, simulator.url)


def talk_to(talk: Callable[[Simulator, Caller], Awaitable[T]], **sections: Any) -> T:
    """What `talk` gives, run against a simulator with `MODELS` and these sections, in virtual time."""

    async def main() -> T:
        async with talking(**{"models": MODELS, **sections}) as (simulator, caller):
            return await talk(simulator, caller)

    return virtual.run(main(), debug=True)
