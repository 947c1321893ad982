"""One exchange over HTTP: a request leaves (or does not), an answer comes back (or does not), and we know which."""

from __future__ import annotations

import asyncio
import functools
import selectors
import ssl
import zlib
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from orchestrator.log import Event, Logger
from orchestrator.manifest.manifest import Instance, Secret
from orchestrator.omni.breakdown import explain_cut, explain_unsent
from orchestrator.omni.error_text import READ_BYTES
from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown
from orchestrator.omni.network import STRAIGHT, Route, make_tls_context, route_to

ACCEPTED: Final = "gzip, deflate"
"""The codings to ask for: those that `Decoder` knows."""

_GZIP: Final = frozenset({"gzip", "x-gzip"})
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS
_NAME_CHARACTERS: Final = 60


class UndecodableBody(Exception):
    """The body cannot be decoded; the text says why, in words that can be shown."""


class Decoder:
    """Decodes one body. Raises UndecodableBody for a coding that it does not know."""

    def __init__(self, content_encoding: str) -> None:
        names = [name for part in content_encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
        self._name = names[0] if names else ""
        self._unzip: zlib._Decompress | None = None
        self._is_first = True
        if len(names) > 1 or self._name not in {"", "deflate", *_GZIP}:
            shown = ", ".join(names).encode("ascii", "replace").decode()[:_NAME_CHARACTERS]
            raise UndecodableBody(f"the answer is encoded as {shown}, which was not asked for")

    def decode(self, data: bytes, most: int) -> bytes:
        """The next decoded bytes, `most` of them at most (more than 0); raises UndecodableBody."""
        if not self._name or not data:
            return data
        try:
            return self._inflate(data, most)
        except zlib.error:
            raise UndecodableBody(f"the answer says that it is encoded as {self._name}, and is not") from None

    @property
    def is_whole(self) -> bool:
        """Whether the body may end here."""
        return self._unzip is None or self._unzip.eof

    def _inflate(self, data: bytes, most: int) -> bytes:
        decoded = b""
        while data and len(decoded) < most:
            if self._unzip is None or self._unzip.eof:
                if not self._is_first and data[:1] != b"\x1f":
                    # gzip may have several members; whatever else follows the last one is padding
                    break
                self._unzip = zlib.decompressobj(self._bits(data))
                self._is_first = False
            decoded += self._unzip.decompress(data, most - len(decoded))
            data = self._unzip.unused_data
        return decoded

    def _bits(self, data: bytes) -> int:
        if self._name in _GZIP:
            return _GZIP_BITS
        # the name means zlib's format; some servers send the bare one
        return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS


KEEP_ALIVE_S = 4.0
"""An idle connection is dropped after this: before the five seconds after which common servers close theirs."""

HEADER_LINE_BYTES: Final = 64 << 10
"""The longest header line that is read, in bytes (docs/explanation/never-twice.md)."""

HEADER_LINES: Final = 1000
"""An answer has at most this many header lines."""

_ERROR_BODY_S = 5.0
"""The status says what to do; the words of an error are waited for no longer than this."""

_LOOKS: Final = 5
"""How often the loop looks at the sockets, without a new byte, before a time limit that is over ends a call."""

_LATEST_S: Final = 5.0
"""How long a call may read what has arrived after its time limit, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. `body` is whole for a 2xx; for any other status it is what could be had of it.

    `close_connection` closes the connection that the answer came on: call it if the answer belongs to another request.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    close_connection: Callable[[], object] = field(repr=False, default=lambda: None)

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class _BrokenError(Exception):
    """A connection broke. Not an error that aiohttp knows, so that it does not send the request again by itself."""

    def __init__(self, cause: aiohttp.ClientError) -> None:
        super().__init__()
        self.cause = cause


class _Protocol(ResponseHandler):
    """Reads a connection. Bytes that arrive while no request is open close it: they would pass for the next answer."""

    is_idle = False
    received = 0

    def data_received(self, data: bytes) -> None:
        """As the base class."""
        if self.is_idle and data:
            self.abort()
            return
        self.received += len(data)
        super().data_received(data)

    def rest(self) -> None:
        """The answer has been read, and the connection goes back to the pool."""
        self.is_idle = True


class _Call:
    """One exchange in progress: whether its request has left, and its deadline."""

    __slots__ = ("_ends_at_s", "_limit", "_loop", "_timer", "left", "protocol", "status")

    def __init__(self, limit: asyncio.Timeout, ends_at_s: float) -> None:
        self._limit = limit
        self._ends_at_s = ends_at_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self.protocol: _Protocol | None = None
        self.left = False
        self.status: int | None = None

    def leave(self, protocol: _Protocol) -> None:
        """There is a connection, so from here on the request may arrive; the limit is now the whole call's.

        Raises TimeoutError if that is over: then nothing leaves.
        """
        if self._limit.expired() or self._loop.time() >= self._ends_at_s:
            raise TimeoutError
        self.left = True
        self.protocol = protocol
        self._limit.reschedule(None)
        self.end_by(self._ends_at_s)

    def end_by(self, at_s: float) -> None:
        """Give it until then, at most."""
        self.cancel()
        at_s = min(at_s, self._ends_at_s)
        self._timer = self._loop.call_at(at_s, self._time_is_over, at_s + _LATEST_S, 0, 0)

    def cancel(self) -> None:
        """The exchange has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _time_is_over(self, latest_s: float, looks: int, received: int) -> None:
        """Read what has arrived, then end the call.

        If the process was suspended, the timer is due before the loop has looked at the socket that holds the answer.
        """
        now = self._loop.time()
        arrived = 0 if self.protocol is None else self.protocol.received
        looks = looks + 1 if arrived == received else 0
        if looks > _LOOKS or now > latest_s:
            self._limit.reschedule(now)
        else:
            self._timer = self._loop.call_soon(self._time_is_over, latest_s, looks, arrived)


_CALL: ContextVar[_Call] = ContextVar("_CALL")
"""The exchange that the running task is at: how the connector, which aiohttp calls, finds it."""


class _Connector(aiohttp.TCPConnector):
    """Tells each call the moment when it has a connection, new or kept alive: before it, nothing can have left.

    aiohttp's traces report the same and cost a fifth of a small call. A kept-alive connection on which anything waits to
    be read (bytes that no request asked for, or its end) is not used again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        make: type[ResponseHandler] = _Protocol
        self._factory = functools.partial(make, loop=asyncio.get_running_loop())

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """As the base class."""
        while True:
            connection = await super().connect(*args, **options)
            protocol = connection.protocol
            assert isinstance(protocol, _Protocol)
            if protocol.is_idle and _has_input(protocol):
                connection.close()
                continue
            protocol.is_idle = False
            try:
                _CALL.get().leave(protocol)
            except TimeoutError:
                connection.close()
                raise
            connection.add_callback(protocol.rest)
            return connection


def _has_input(protocol: _Protocol) -> bool:
    """Whether the connection has something to read that the loop has not seen yet."""
    if protocol.should_close or protocol.transport is None:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(protocol.transport.get_extra_info("socket"), selectors.EVENT_READ)
        return bool(selector.select(0))


class Transport:
    """The connections to one instance. Opened inside the running loop; at most one answer's body is kept at a time."""

    def __init__(self, instance: Instance, *, user_agent: str, connect_timeout_s: float, direct: bool) -> None:
        self._instance = instance
        self._user_agent = user_agent
        self._request_timeout_s = instance.request_timeout_s
        self._connect_timeout_s = min(connect_timeout_s, instance.request_timeout_s)
        self._direct = direct
        self._base = ""
        self._peer = ""
        self._route = STRAIGHT
        self._reads: aiohttp.ClientSession
        self._refreshes: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        url = URL(self._instance.base_url).with_user(None)
        self._base = str(url).rstrip("/")
        self._peer = url.host_port_subcomponent or ""
        self._route = STRAIGHT if self._direct else _told_route(self._base)
        context = make_tls_context(self._instance) if url.scheme == "https" else None
        self._reads = self._make_session(context, alone=False)
        self._refreshes = self._make_session(context, alone=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._reads.close()
        await self._refreshes.close()

    async def exchange(self, method: str, target: str, key: Secret, *, max_bytes: int, alone: bool = False) -> Reply:
        """Send one request and read its answer. `alone`: over a connection of its own, closed after.

        A 2xx comes back whole or not at all; of any other status the body is what could be had. Raises Unsent if no
        connection was made, DeliveryUnknown if one was and no answer came, or a 2xx of more than `max_bytes`
        (decoded). Takes `request_timeout_s` at most, connecting included.
        """
        outcome = await self._attempt(method, target, key, max_bytes, self._refreshes if alone else self._reads)
        if isinstance(outcome, CallError):
            raise outcome
        return outcome

    async def _attempt(
        self, method: str, target: str, key: Secret, max_bytes: int, session: aiohttp.ClientSession
    ) -> Reply | CallError:
        """One exchange; its error is returned and not raised, so that no library's exception is its context."""
        body = bytearray()
        headers: Mapping[str, str] = {}
        started_at_s = asyncio.get_running_loop().time()
        limit = asyncio.timeout_at(started_at_s + self._connect_timeout_s)
        call = _Call(limit, started_at_s + self._request_timeout_s)
        failure: CallError | None = None
        proxy = self._route.proxy
        _CALL.set(call)
        try:
            async with (
                limit,
                session.request(
                    method,
                    URL(self._base + target, encoded=True),
                    headers={"Authorization": f"Bearer {key.reveal()}"},
                    allow_redirects=False,
                    proxy=None if proxy is None else proxy.url,
                    proxy_headers=None if proxy is None else proxy.headers,
                ) as response,
            ):
                call.status, headers = response.status, response.headers
                if not 200 <= response.status < 300:
                    max_bytes = READ_BYTES
                    call.end_by(asyncio.get_running_loop().time() + _ERROR_BODY_S)
                decoder = Decoder(",".join(response.headers.getall("Content-Encoding", ())))
                async for chunk in response.content.iter_any():
                    body += decoder.decode(chunk, max_bytes + 1 - len(body))
                    if len(body) > max_bytes:
                        response.close()
                        failure = DeliveryUnknown(
                            CallErrorKind.UNREADABLE,
                            f"the answer is longer than {max_bytes} bytes",
                            http_status=call.status,
                        )
                        break
                else:
                    if not decoder.is_whole:
                        failure = DeliveryUnknown(
                            CallErrorKind.CUT_OFF, "the answer was cut off", http_status=call.status
                        )
        except UndecodableBody as error:
            failure = DeliveryUnknown(CallErrorKind.UNREADABLE, str(error), http_status=call.status)
        except _BrokenError as error:
            failure = self._explain(error.cause, call)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = self._explain(error, call)
        finally:
            call.cancel()
        if call.status is None or (failure is not None and 200 <= call.status < 300):
            assert failure is not None
            return failure
        assert call.protocol is not None
        return Reply(
            status=call.status,
            headers=headers,
            body=bytes(body[:max_bytes]),
            close_connection=call.protocol.abort,
        )

    def _explain(self, error: BaseException, call: _Call) -> CallError:
        if call.left:
            return explain_cut(error, request_timeout_s=self._request_timeout_s, status=call.status)
        proxy, place = self._route.proxy, self._instance.base_url_place
        return explain_unsent(
            error,
            peer=f"{self._peer} ({place})" if place else self._peer,
            proxy=None if proxy is None else f"{proxy.shown} ({proxy.variable})",
            connect_timeout_s=self._connect_timeout_s,
        )

    def _make_session(self, context: ssl.SSLContext | None, *, alone: bool) -> aiohttp.ClientSession:
        connector = _Connector(
            ssl=context or True,
            limit=0,
            force_close=alone,
            resolver=aiohttp.ThreadedResolver(),
            keepalive_timeout=None if alone else KEEP_ALIVE_S,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent, "Accept": "application/json", "Accept-Encoding": ACCEPTED},
            skip_auto_headers=("Content-Type",),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            auto_decompress=False,
            max_line_size=HEADER_LINE_BYTES,
            max_field_size=HEADER_LINE_BYTES,
            max_headers=HEADER_LINES,
            middlewares=(_once,),
        )


def _told_route(base_url: str) -> Route:
    """The way to an instance; warns of what was not understood."""
    route = route_to(base_url)
    if route.not_understood:
        Logger().warning(Event.PROXY_EXCEPTION_IGNORED, entries=list(route.not_understood))
    return route


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send the request once. aiohttp sends an idempotent one again when a kept-alive connection was dead."""
    cause: aiohttp.ClientError
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        cause = error
    raise _BrokenError(cause)
