"""A TCP proxy on loopback whose connections can be cut, delayed, or made deaf in one direction."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Proxy:
    """Passes connections on to a server. Set the attributes at any time, from any thread; they hold for open connections too.

    `delay_s` is how much later each answer comes. With `swallows_answers` what the server says is thrown away: queries arrive,
    and may be committed. With `refuses` new connections are closed at once; with `says` they are told so much before.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.delay_s = 0.0
        self.swallows_answers = False
        self.refuses = False
        self.says = b""
        self._server_port = port
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._listener = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._listener.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close everything."""
        self.cut()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Close all connections."""

        async def close() -> None:
            for writer in tuple(self._open):
                writer.close()

        self._do(close())

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        self._listener.close()
        # a connection that was just accepted has a task that has not begun
        await asyncio.sleep(0.01)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # connections are closed in the turns that follow
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self.says:
                await reader.read(1 << 16)
                writer.write(self.says)
                await writer.drain()
            elif not self.refuses:
                there, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
                self._open.add(to_server)
                try:
                    await asyncio.gather(self._pass(reader, to_server), self._pass(there, writer, is_answer=True))
                finally:
                    self._open.discard(to_server)
                    to_server.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool = False
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if is_answer and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if not (is_answer and self.swallows_answers):
                    writer.write(data)
                    await writer.drain()
        writer.close()


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy to a local server, as long as the block lasts."""
    proxy = Proxy(port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
