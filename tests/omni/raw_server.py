"""A server that says whatever a test wants, byte for byte: hostile answers that no real server library would give."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from orchestrator.manifest.manifest import Instance, Secret
from orchestrator.omni.answers import RefreshRequest
from orchestrator.omni.client import OmniClient
from orchestrator.simulator import virtual
from orchestrator.simulator.virtual import VirtualLoop

KEY = Secret("SECRETKEY123")
MODEL = "3c90c3cc-0d44-4b50-8888-8dd25736052a"

ASK = RefreshRequest(model_id=MODEL, hard=True)
RUNNING = b'{"job_type": "refresh_schema", "status": "RUNNING"}'

T = TypeVar("T")
Behaviour = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as it came (`head`: request line and headers), and the way to answer it."""

    head: bytes
    connection: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int, body: bytes = b"", *headers: str) -> None:
        """Send a whole answer; the connection stays open."""
        await self.send(whole(status, body, *headers))

    def close(self) -> None:
        """Close the connection, orderly."""
        self.writer.close()

    def reset(self) -> None:
        """Break the connection."""
        self.writer.transport.abort()

    @property
    def target(self) -> str:
        """The request target, as it came."""
        return self.head.split(b" ", 2)[1].decode("ascii")


@dataclass
class RawServer:
    """What came in: each request's head, and on which connection (counted from 1)."""

    port: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    connections: int = 0

    def base_url(self, scheme: str = "http") -> str:
        """The base URL that leads here."""
        return f"{scheme}://127.0.0.1:{self.port}"


def whole(status: int, body: bytes = b"", *headers: str) -> bytes:
    """A whole answer with its length."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """A server on a free port of 127.0.0.1 that calls `behave` for each request; it ends with the block."""
    server = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        number = server.connections
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while not writer.transport.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                exchange = Exchange(head=head, connection=number, reader=reader, writer=writer)
                server.exchanges.append(exchange)
                await behave(exchange)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()


def instance(base_url: str, *, request_timeout_s: float = 30.0, ca_file: Path | None = None) -> Instance:
    """An instance at `base_url`; its keys come with each call."""
    return Instance(name="prod", base_url=base_url, keys=(), request_timeout_s=request_timeout_s, ca_file=ca_file)


def client(
    base_url: str,
    *,
    request_timeout_s: float = 30.0,
    connect_timeout_s: float = 10.0,
    ca_file: Path | None = None,
    direct: bool = False,
    max_answer_bytes: int = 1 << 20,
) -> OmniClient:
    """A client in the running virtual loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return OmniClient(
        instance(base_url, request_timeout_s=request_timeout_s, ca_file=ca_file),
        utcnow=loop.utcnow,
        user_agent="omni-refresh/test",
        connect_timeout_s=connect_timeout_s,
        direct=direct,
        max_answer_bytes=max_answer_bytes,
    )


def with_server(behave: Behaviour, use: Callable[[OmniClient, RawServer], Awaitable[T]]) -> T:
    """Run a client against a server that behaves so, in virtual time; return what `use` returns."""

    async def main() -> T:
        async with serving(behave) as server, client(server.base_url()) as omni:
            return await use(omni, server)

    return virtual.run(main(), debug=True)
