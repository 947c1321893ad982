"""The simulator over real HTTP, on loopback only."""

import asyncio
import json
import logging
import socket
import ssl
import struct
from collections.abc import Callable, MutableMapping, Sequence
from datetime import datetime
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from orchestrator.simulator.answer import Answer
from orchestrator.simulator.calls import Call, CallLog
from orchestrator.simulator.field_types import TimeRange
from orchestrator.simulator.request_handler import Incoming, RequestHandler, ResponsePlan
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import Stage

HOST = "127.0.0.1"
BACKLOG = 1024

_MAX_LINE = 1 << 20
_SHUTDOWN_S = 0.05
_TURNS_TO_CONNECT = 3
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER, on, zero seconds: closing the socket sends a reset, not an orderly end."""


class _HttpLog(logging.LoggerAdapter[logging.Logger]):
    """The HTTP library's log without a traceback for requests that are not valid HTTP: their answer, 400, says what is wrong."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Leave the message as it is."""
        return msg, kwargs

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        """Log an error; one in the client's request only for debugging."""
        if isinstance(exc_info, HttpProcessingError):
            self.debug("a request is not valid HTTP: %s", exc_info.message)
        else:
            super().exception(msg, *args, exc_info=exc_info, **kwargs)


class Simulator:
    """A simulated instance that listens while the `async with` block runs, in the event loop of its caller.

    All times come from the running loop's clock, so it works in virtual time; `utcnow` gives the stamps (aware UTC).
    `seed` beats the scenario's. `log_path`: the call log as JSON lines as well. `tls`: serve https with this context.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        utcnow: Callable[[], datetime],
        seed: int | None = None,
        port: int = 0,
        log_path: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.scenario = scenario
        self._utcnow = utcnow
        self._seed = scenario.seed if seed is None else seed
        self._port = port
        self._log_path = log_path
        self._tls = tls
        self._log = CallLog()
        self._sleepers: set[asyncio.Task[object]] = set()
        self._outages: list[asyncio.Task[None]] = []
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._log = CallLog(self._log_path)
        try:
            self._desk = RequestHandler(self.scenario, seed=self._seed, utcnow=self._utcnow, log=self._log)
            self._server = web.Server(
                self._handle,
                access_log=None,
                logger=_HttpLog(logging.getLogger("aiohttp.server")),
                keepalive_timeout=self.scenario.keep_alive,
                max_line_size=_MAX_LINE,
                max_field_size=_MAX_LINE,
            )
            self._start_s = self._loop.time()
            await self._listen()
        except BaseException:
            self._log.close()
            raise
        self._outages = [asyncio.create_task(self._go_down(spell)) for spell in self.scenario.outages]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (*self._outages, *self._sleepers):
            task.cancel()
        try:
            await asyncio.gather(*self._outages, return_exceptions=True)
            await self._hang_up()
        finally:
            self._log.close()

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"{'http' if self._tls is None else 'https'}://{HOST}:{self._port}"

    @property
    def calls(self) -> Sequence[Call]:
        """The calls so far, oldest first; to be read, not changed."""
        return self._log.calls

    @property
    def stage(self) -> Stage:
        """The simulated instance's state: models, connections, what their schema models show."""
        return self._desk.stage

    @property
    def now_s(self) -> float:
        """Seconds since the simulator started: the clock of scenarios and of the call log."""
        return self._loop.time() - self._start_s

    async def _listen(self) -> None:
        self._listener = await self._loop.create_server(self._server, HOST, self._port, backlog=BACKLOG, ssl=self._tls)
        self._port = int(self._listener.sockets[0].getsockname()[1])

    async def _hang_up(self) -> None:
        """Stop listening, and end every connection; at once, if the caller is cancelled."""
        listener, self._listener = self._listener, None
        if listener is not None:
            try:
                # asyncio loses a connection that was just accepted unless it first gets a transport
                for listening in listener.sockets:
                    self._loop.remove_reader(listening.fileno())
                for _ in range(_TURNS_TO_CONNECT):
                    await asyncio.sleep(0)
            finally:
                listener.close()
        try:
            await self._server.shutdown(_SHUTDOWN_S)
        finally:
            for connection in self._server.connections:
                connection.force_close()
        if listener is not None:
            await listener.wait_closed()
        await asyncio.sleep(0)  # transports close their sockets in the loop's next turn

    async def _go_down(self, spell: TimeRange) -> None:
        await asyncio.sleep(spell.from_s - self.now_s)
        for connection in self._server.connections:
            if connection.transport is not None:
                _reset(connection.transport)
        await self._hang_up()
        await asyncio.sleep(spell.until_s - self.now_s)
        await self._listen()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        there_s, back_s = self._desk.draw_ways_s()
        await self._wait(there_s)
        authorization = request.headers.get("Authorization", "")
        incoming = Incoming(
            method=request.method,
            target=request.raw_path,
            key=authorization[7:] if authorization.startswith("Bearer ") else None,
            user_agent=request.headers.get("User-Agent", ""),
            body_bytes=request.content_length or 0,
        )
        fate = self._desk.decide(incoming, self.now_s, back_s)
        await self._wait(fate.after_s)
        if fate.drop is not None:
            return self._cut(request, fate)
        if fate.close_after_s is not None and request.transport is not None:
            self._loop.call_later(fate.close_after_s, request.transport.close)
        headers = {"Content-Type": fate.answer.content_type, "Date": self._desk.http_date(), **fate.answer.headers}
        return web.Response(status=fate.answer.status, body=_body(fate.answer), headers=headers)

    async def _wait(self, delay_s: float) -> None:
        """Sleep; end early if the simulator stops."""
        if delay_s <= 0:
            return
        task = asyncio.current_task()
        assert task is not None
        self._sleepers.add(task)
        try:
            await asyncio.sleep(delay_s)
        finally:
            self._sleepers.discard(task)

    def _cut(self, request: web.BaseRequest, fate: ResponsePlan) -> web.StreamResponse:
        """End the connection before the whole answer was sent; the response that is returned is not sent."""
        transport = request.transport
        if transport is not None:
            if fate.drop == "reset":
                _reset(transport)
            else:
                transport.write(_half(fate, self._desk.http_date()))
                transport.close()
        return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _reset(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _body(answer: Answer) -> bytes:
    if answer.raw is not None:
        return answer.raw.encode("utf-8", "surrogateescape")
    return json.dumps(answer.body, separators=(",", ":")).encode()


def _half(fate: ResponsePlan, date: str) -> bytes:
    """The part of the answer that is sent: nothing, half of its headers, or those and half of its body."""
    if fate.drop == "close":
        return b""
    body = _body(fate.answer)
    headers = {"Content-Type": fate.answer.content_type, "Content-Length": str(len(body)), "Date": date}
    lines = [
        f"HTTP/1.1 {fate.answer.status} {responses.get(fate.answer.status, '')}",
        *(f"{k}: {v}" for k, v in {**headers, **fate.answer.headers}.items()),
    ]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return head[: len(head) // 2] if fate.drop == "headers" else head + body[: len(body) // 2]


async def serve(
    scenario: Scenario,
    *,
    utcnow: Callable[[], datetime],
    ready: Callable[[str], None],
    port: int = 0,
    log_path: Path | None = None,
) -> None:
    """Run a simulator until cancelled; `ready` is called with its base URL once it listens.

    Raises OSError if the port is taken or the log cannot be written.
    """
    async with Simulator(scenario, utcnow=utcnow, port=port, log_path=log_path) as simulator:
        ready(simulator.url)
        await asyncio.Event().wait()
