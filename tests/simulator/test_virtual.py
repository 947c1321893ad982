"""Virtual time: nothing is waited for, nothing is lost, the same program gives the same moments."""

import asyncio
import random
import socket
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from aiolimiter import AsyncLimiter

from orchestrator.simulator import virtual

HOUR_S = 3600.0


async def _conversation(models: int, polls: int) -> list[tuple[float, str]]:
    """A client that polls many jobs over real HTTP; what the server saw, with its clock."""
    loop = asyncio.get_running_loop()
    seen: list[tuple[float, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((loop.time(), request.path))
        await asyncio.sleep(0.05)
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    rng = random.Random(7)

    async with aiohttp.ClientSession() as session:

        async def one(number: int) -> None:
            for _ in range(polls):
                await asyncio.sleep(rng.uniform(0.1, 600))
                async with session.get(f"{url}/{number}") as reply:
                    await reply.read()

        await asyncio.gather(*(one(number) for number in range(models)))
    await site.stop()
    await runner.cleanup()
    return seen


def test_an_hour_of_http_takes_seconds_and_gives_the_same_log_each_time() -> None:
    """100 clients polling for most of an hour end within seconds, and a second time with the very same moments."""
    began = time.process_time()
    first = virtual.run(_conversation(100, 9))
    assert time.process_time() - began < 10
    assert len(first) == 900
    assert first[-1][0] - first[0][0] > 0.8 * HOUR_S
    assert virtual.run(_conversation(100, 9)) == first


def test_a_sleep_moves_the_clock_by_what_was_asked() -> None:
    """A sleep of a day ends a day later on the clock and on the stamps, at once in real time."""

    async def main() -> tuple[float, timedelta]:
        loop = asyncio.get_running_loop()
        now, stamp = loop.time(), virtual.utcnow_of(loop)
        began = stamp()
        await asyncio.sleep(86400)
        return loop.time() - now, stamp() - began

    real = time.process_time()
    slept_s, stamped = virtual.run(main())
    assert slept_s == pytest.approx(86400, abs=1e-3)
    assert stamped == pytest.approx(timedelta(days=1), abs=timedelta(milliseconds=1))
    assert time.process_time() - real < 2


def test_the_clock_starts_at_the_given_moment() -> None:
    """Each loop starts at the same reading, and its stamps at `start_at`, aware."""

    async def main() -> tuple[float, datetime]:
        loop = asyncio.get_running_loop()
        return loop.time(), virtual.utcnow_of(loop)()

    reading, stamp = virtual.run(main())
    assert reading == pytest.approx(virtual.START_S, abs=1e-6)
    assert stamp == virtual.START_AT
    assert stamp.tzinfo is UTC
    later = datetime(2030, 5, 6, 7, 8, tzinfo=UTC)
    assert virtual.run(main(), start_at=later)[1] == later


def test_stamps_belong_to_a_virtual_loop() -> None:
    """A loop of real time has no virtual stamps."""
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(TypeError, match="no virtual time"):
            virtual.utcnow_of(loop)
    finally:
        loop.close()


@pytest.mark.timeout(20)
def test_a_limiter_that_watches_the_clock_does_not_spin() -> None:
    """aiolimiter, which spins for ever on a clock that lands exactly on its timers, paces 200 calls in virtual minutes."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        limiter, began = AsyncLimiter(10, 7), loop.time()

        async def one() -> None:
            async with limiter:
                pass

        await asyncio.gather(*(one() for _ in range(200)))
        return loop.time() - began

    assert virtual.run(main()) == pytest.approx(190 * 0.7, rel=0.01)


def test_the_clock_waits_for_a_thread() -> None:
    """Work in the loop's executor takes real time, and none of the clock's, even beside a timer that is due sooner."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        order: list[str] = []
        loop.call_later(1, order.append, "timer")
        released = threading.Event()
        threading.Timer(0.2, released.set).start()
        await loop.run_in_executor(None, released.wait)
        order.append("thread")
        await asyncio.sleep(2)
        return order

    assert virtual.run(main()) == ["thread", "timer"]


def test_without_a_timer_a_thread_can_wake_the_loop() -> None:
    """Where nothing is due, the loop waits in real time until another thread calls."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[str] = loop.create_future()
        threading.Timer(0.1, loop.call_soon_threadsafe, (woken.set_result, "woken")).start()
        return await woken

    assert virtual.run(main()) == "woken"


def test_the_clock_waits_for_a_full_send_buffer() -> None:
    """Bytes that only a delayed acknowledgement holds up arrive before any timer: a kernel's 40 ms are not an hour."""

    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()

        async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(bytes(400_000))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        listening.bind(("127.0.0.1", 0))
        async with await asyncio.start_server(send, sock=listening):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200_000)
            client.setblocking(False)
            await loop.sock_connect(client, listening.getsockname())
            reader, writer = await asyncio.open_connection(sock=client)
            began, alarm = loop.time(), loop.call_later(HOUR_S, reader.set_exception, TimeoutError())
            received = len(await reader.read())
            alarm.cancel()
            writer.close()
            await writer.wait_closed()
        return received, loop.time() - began

    received, took_s = virtual.run(main())
    assert received == 400_000
    assert took_s < 0.001


def test_an_unread_writer_does_not_stop_time() -> None:
    """A full connection whose reader never reads still reaches its timeout."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            try:
                await asyncio.wait_for(loop.sock_sendall(left, bytes(10_000_000)), HOUR_S)
            except TimeoutError:
                return "timed out"
        return "sent"

    assert virtual.run(main()) == "timed out"


def test_leftovers_are_cancelled_and_generators_closed() -> None:
    """Tasks that still run at the end are cancelled, open async generators closed, as `asyncio.run` does."""
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ended.append("generator")

    async def main() -> int:
        task = asyncio.create_task(endless())
        generator = numbers()
        assert await anext(generator) == 1
        await asyncio.sleep(0)
        assert not task.done()
        ended.append("main")
        keep.append(generator)
        return 42

    keep: list[AsyncIterator[int]] = []
    assert virtual.run(main(), debug=True) == 42
    assert ended == ["main", "task", "generator"]
