"""Connections: which are used again, which never came about, and what happens to the calls on them."""

import asyncio
import socket
from pathlib import Path

import pytest

from orchestrator.omni import transport
from orchestrator.omni.answers import JobState
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallErrorKind, DeliveryUnknown, Unsent
from orchestrator.simulator import virtual
from tests.omni.certificates import make_server_context, write_authority
from tests.omni.raw_server import (
    ASK,
    KEY,
    RUNNING,
    Exchange,
    RawServer,
    client,
    instance,
    serving,
    whole,
    with_server,
)


def test_a_dead_kept_alive_connection_is_reported_and_not_hidden() -> None:
    """A read on a connection that dies under it is sent once; the library's own second sending is off."""

    async def behave(exchange: Exchange) -> None:
        if len(server_of) > 1:
            exchange.close()
        else:
            await exchange.answer(200, RUNNING)
        server_of.append(exchange)

    async def main(omni: OmniClient, server: RawServer) -> int:
        await omni.job("j", KEY)
        await omni.job("j", KEY)
        with pytest.raises(DeliveryUnknown) as caught:
            await omni.job("j", KEY)
        assert caught.value.kind is CallErrorKind.CUT_OFF
        return len(server.exchanges)

    server_of: list[Exchange] = []
    assert with_server(behave, main) == 3


WRONG = whole(200, b'{"job_id": "other", "status": "COMPLETED"}')


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("when", ["with the answer", "while idle", "just before", "in two parts"])
def test_an_unrequested_answer(scheme: str, when: str, tmp_path: Path) -> None:
    """An answer too many on a kept-alive connection is never the next request's, whenever it arrives."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(whole(200, RUNNING) + (WRONG if when == "with the answer" else b""))

    async def main() -> list[int]:
        tls = make_server_context(tmp_path) if scheme == "https" else None
        ca_file = write_authority(tmp_path) if tls else None
        async with serving(behave, tls) as server, client(server.base_url(scheme), ca_file=ca_file) as omni:
            await omni.job("j", KEY)
            writer = server.exchanges[0].writer
            if when != "with the answer":
                await asyncio.sleep(1)
                writer.write(WRONG[:-20] if when == "in two parts" else WRONG)
            if when in ("while idle", "in two parts"):
                await asyncio.sleep(1)
            if when == "in two parts" and not writer.transport.is_closing():
                writer.write(WRONG[-20:])
            assert (await omni.job("j", KEY)).state is JobState.RUNNING
            return [exchange.connection for exchange in server.exchanges]

    assert virtual.run(main(), debug=True) == [1, 2]


def test_a_connection_that_ends_just_before_it_is_used() -> None:
    """An end that waits in the socket is seen before the request is written: the call goes over a new connection."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, RUNNING)

    async def main(omni: OmniClient, server: RawServer) -> list[int]:
        for _ in range(3):
            assert (await omni.job("j", KEY)).state is JobState.RUNNING
            server.exchanges[-1].writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        return [exchange.connection for exchange in server.exchanges]

    assert with_server(behave, main) == [1, 2, 3]


def test_an_unreadable_answer_closes_its_connection() -> None:
    """An answer that is not the API's may be another request's: its connection serves no further call."""
    bodies = [b"<html>", RUNNING, RUNNING]

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, bodies.pop(0))

    async def main(omni: OmniClient, server: RawServer) -> list[int]:
        with pytest.raises(DeliveryUnknown):
            await omni.job("j", KEY)
        for _ in range(2):
            await omni.job("j", KEY)
        return [exchange.connection for exchange in server.exchanges]

    assert with_server(behave, main) == [1, 2, 2]


def test_an_idle_connection_is_left_before_the_server_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for longer than the limit is not used again: many servers close theirs after 5 s."""
    assert transport.KEEP_ALIVE_S < 5
    monkeypatch.setattr(transport, "KEEP_ALIVE_S", 0.1)

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, RUNNING)

    async def main() -> list[int]:
        async with (
            serving(behave) as server,
            OmniClient(instance(server.base_url()), utcnow=lambda: virtual.START_AT, user_agent="x") as omni,
        ):
            # In real time: aiohttp measures idleness on the system's clock, not on the loop's.
            for pause_s in (0.0, 0.01, 0.2):
                await asyncio.sleep(pause_s)
                await omni.job("j", KEY)
            return [exchange.connection for exchange in server.exchanges]

    assert asyncio.run(main(), debug=True) == [1, 1, 2]


def test_polls_to_a_server_that_drops_connections() -> None:
    """Thirty polls to a server that closes a connection a second after its last answer: none of them breaks."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, RUNNING)
        asyncio.get_running_loop().call_later(1, exchange.close)

    async def main(omni: OmniClient, server: RawServer) -> None:
        for pause_s in [0.5, 1.1, 1.5, 2, 4.5] * 6:
            assert (await omni.job("j", KEY)).state is JobState.RUNNING
            await asyncio.sleep(pause_s)

    with_server(behave, main)


def test_cookies_are_not_kept() -> None:
    """What a server or a proxy sets as a cookie is never sent back."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, RUNNING, "Set-Cookie: session=abc; Path=/")

    async def main(omni: OmniClient, server: RawServer) -> bytes:
        await omni.job("j", KEY)
        await omni.job("j", KEY)
        return server.exchanges[1].head

    assert b"ookie" not in with_server(behave, main)


def test_refreshes_at_a_server_that_closes_each_connection() -> None:
    """A refresh never meets a closing connection: each has its own."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"jobId": "j"}')
        exchange.close()

    async def main(omni: OmniClient, server: RawServer) -> int:
        for _ in range(30):
            assert (await omni.refresh(ASK, KEY)).job_id == "j"
        return server.connections

    assert with_server(behave, main) == 30


def test_a_closed_port() -> None:
    """A refused connection was never a request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main() -> None:
        async with client(f"http://127.0.0.1:{port}") as omni:
            await omni.refresh(ASK, KEY)

    with pytest.raises(Unsent, match=rf"127\.0\.0\.1:{port}: connection refused") as caught:
        virtual.run(main(), debug=True)
    assert caught.value.kind is CallErrorKind.CONNECT
    assert caught.value.is_retryable


def test_an_unknown_name() -> None:
    """A host name without an address was never a request."""

    async def main() -> None:
        async with client("https://omni.invalid/x") as omni:
            await omni.refresh(ASK, KEY)

    with pytest.raises(Unsent, match=r"host name of omni\.invalid is not known") as caught:
        virtual.run(main(), debug=True)
    assert caught.value.kind is CallErrorKind.DNS


@pytest.mark.parametrize("request_timeout_s, limit_s", [(30.0, 10.0), (3.0, 3.0)])
def test_a_connection_that_never_comes_about(request_timeout_s: float, limit_s: float) -> None:
    """Connecting, the TLS handshake included, has its own limit, within the call's; what ends there was never sent."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as mute:
            started_at_s = loop.time()
            address = f"https://127.0.0.1:{mute.getsockname()[1]}"
            async with client(address, request_timeout_s=request_timeout_s) as omni:
                with pytest.raises(Unsent, match=rf"within {limit_s:g} s") as caught:
                    await omni.refresh(ASK, KEY)
            assert caught.value.kind is CallErrorKind.CONNECT
            return loop.time() - started_at_s

    assert virtual.run(main(), debug=True) == pytest.approx(limit_s, abs=0.01)


def test_a_cancelled_call_passes_the_cancel_on() -> None:
    """Cancelling a call ends it at once, and its connection with it; the next call works."""

    async def behave(exchange: Exchange) -> None:
        if exchange.connection == 1:
            await asyncio.sleep(1000)
        await exchange.answer(200, RUNNING)

    async def main(omni: OmniClient, server: RawServer) -> JobState:
        call = asyncio.create_task(omni.job("j", KEY))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return (await omni.job("j", KEY)).state

    assert with_server(behave, main) is JobState.RUNNING


def test_calls_side_by_side_have_their_own_limits() -> None:
    """Many calls at once, some answered and some not, each end in their own time."""

    async def behave(exchange: Exchange) -> None:
        if exchange.target.endswith("/slow/status"):
            await asyncio.sleep(1000)
        await exchange.answer(200, RUNNING)

    async def main(omni: OmniClient, server: RawServer) -> list[str]:
        names = ["slow" if n % 3 == 0 else f"j{n}" for n in range(60)]
        found = await asyncio.gather(*(omni.job(name, KEY) for name in names), return_exceptions=True)
        return [type(answer).__name__ for answer in found]

    kinds = with_server(behave, main)
    assert kinds == ["DeliveryUnknown" if n % 3 == 0 else "JobAnswer" for n in range(60)]
