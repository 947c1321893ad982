"""HTTP exchanges over real sockets in virtual time: what was sent, what came back, and timeouts."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.omni.answers import JobAnswer, JobState, RefreshAnswer
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, KeyRefused, Refused, Throttled
from orchestrator.simulator import virtual
from tests.omni.certificates import make_server_context, write_authority
from tests.omni.raw_server import (
    ASK,
    KEY,
    RUNNING,
    Behaviour,
    Exchange,
    RawServer,
    client,
    serving,
    whole,
    with_server,
)


async def _refresh(omni: OmniClient, _: RawServer) -> RefreshAnswer:
    return await omni.refresh(ASK, KEY)


async def _poll(omni: OmniClient, _: RawServer) -> JobAnswer:
    return await omni.job("j", KEY)


async def _silent(_: Exchange) -> None:
    await asyncio.sleep(1_000_000)


async def _closing(exchange: Exchange) -> None:
    exchange.close()


async def _resetting(exchange: Exchange) -> None:
    exchange.reset()


async def _cut_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    exchange.close()


async def _cut_body(exchange: Exchange) -> None:
    await exchange.send(whole(200, RUNNING)[:-5])
    exchange.close()


async def _cut_chunks(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}   \r\n")
    exchange.reset()


async def _bad_gzip(exchange: Exchange) -> None:
    await exchange.answer(200, b"this is no gzip", "Content-Encoding: gzip")


async def _cut_gzip(exchange: Exchange) -> None:
    await exchange.answer(200, gzip.compress(RUNNING, mtime=0)[:-9], "Content-Encoding: gzip")


async def _no_http(exchange: Exchange) -> None:
    await exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    exchange.close()


async def _long_header(exchange: Exchange) -> None:
    await exchange.answer(200, RUNNING, "X-Long: " + "x" * 100_000)


async def _many_headers(exchange: Exchange) -> None:
    await exchange.answer(200, RUNNING, *(f"X-{n}: x" for n in range(5000)))


async def _bad_length(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}")


async def _bad_chunk(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")


@pytest.mark.parametrize(
    "behave, kind",
    [
        *(
            (_closing, CallErrorKind.CUT_OFF),
            (_resetting, CallErrorKind.CUT_OFF),
            (_cut_head, CallErrorKind.CUT_OFF),
            (_cut_body, CallErrorKind.CUT_OFF),
        ),
        *(
            (_cut_chunks, CallErrorKind.CUT_OFF),
            (_cut_gzip, CallErrorKind.CUT_OFF),
            (_bad_gzip, CallErrorKind.UNREADABLE),
            (_no_http, CallErrorKind.UNREADABLE),
        ),
        *(
            (_long_header, CallErrorKind.UNREADABLE),
            (_many_headers, CallErrorKind.UNREADABLE),
            (_bad_length, CallErrorKind.UNREADABLE),
        ),
        (_bad_chunk, CallErrorKind.UNREADABLE),
    ],
)
@pytest.mark.parametrize("use", [_refresh, _poll])
def test_no_whole_answer(
    behave: Behaviour, kind: CallErrorKind, use: Callable[[OmniClient, RawServer], Awaitable[object]]
) -> None:
    """Whatever breaks once there is a connection leaves the fate unknown, and the request is sent exactly once."""
    seen: list[int] = []

    async def once(exchange: Exchange) -> None:
        seen.append(exchange.connection)
        await behave(exchange)

    with pytest.raises(DeliveryUnknown) as caught:
        with_server(once, use)
    assert caught.value.kind is kind
    assert len(seen) == 1


@pytest.mark.parametrize("use", [_refresh, _poll])
def test_a_server_that_never_answers(use: Callable[[OmniClient, RawServer], Awaitable[object]]) -> None:
    """A call ends after the request timeout, to the second, with its fate unknown."""

    async def main(omni: OmniClient, server: RawServer) -> float:
        loop = asyncio.get_running_loop()
        started_at_s = loop.time()
        with pytest.raises(DeliveryUnknown) as caught:
            await use(omni, server)
        assert (caught.value.kind, caught.value.answered) == (CallErrorKind.TIMEOUT, False)
        return loop.time() - started_at_s

    assert with_server(_silent, main) == pytest.approx(30.0, abs=0.01)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_a_slow_drip_keeps_nothing_open(head: bytes) -> None:
    """A byte a second, in the head or in the body, does not stretch the request timeout."""

    async def drip(exchange: Exchange) -> None:
        await exchange.send(head)
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
            await exchange.send(bytes([byte]))
            await asyncio.sleep(1)

    async def main(omni: OmniClient, server: RawServer) -> float:
        started_at_s = asyncio.get_running_loop().time()
        with pytest.raises(DeliveryUnknown, match=r"within 30 s"):
            await omni.refresh(ASK, KEY)
        return asyncio.get_running_loop().time() - started_at_s

    assert with_server(drip, main) == pytest.approx(30.0, abs=0.01)


def test_the_words_of_an_error_are_not_waited_for() -> None:
    """A 429 is a 429 after five seconds at most, however slowly its body comes, and keeps its wait."""

    async def drip(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 429 Too Many\r\nRetry-After: 9\r\nContent-Length: 100000\r\n\r\nslow")
        await asyncio.sleep(1000)

    async def main(omni: OmniClient, server: RawServer) -> float:
        started_at_s = asyncio.get_running_loop().time()
        with pytest.raises(Throttled) as caught:
            await omni.refresh(ASK, KEY)
        assert (caught.value.message, caught.value.retry_after_s) == ("slow", 9.0)
        return asyncio.get_running_loop().time() - started_at_s

    assert with_server(drip, main) == pytest.approx(5.0, abs=0.01)


@pytest.mark.parametrize("status, error", [(400, Refused), (429, Throttled), (401, KeyRefused), (503, DeliveryUnknown)])
@pytest.mark.parametrize("ending", ["cut", "long", "gzip"])
def test_the_body_of_an_error_does_not_matter(status: int, error: type[CallError], ending: str) -> None:
    """An error whose body is cut off, endless or badly packed is that error."""

    async def behave(exchange: Exchange) -> None:
        if ending == "long":
            await exchange.answer(status, b"x" * 1_000_000)
        elif ending == "gzip":
            await exchange.answer(status, b"no gzip", "Content-Encoding: gzip")
        else:
            await exchange.send(whole(status, b"x" * 100)[:-50])
            exchange.close()

    with pytest.raises(error) as caught:
        with_server(behave, _poll)
    assert type(caught.value) is error
    assert 0 < len(caught.value.message) <= 2000


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    """An answer of the old kind, ended by the connection's end, is whole."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.0 200 OK\r\n\r\n" + RUNNING)
        exchange.close()

    assert with_server(behave, _poll) == JobAnswer(state=JobState.RUNNING, word="RUNNING")


def test_interim_answers_are_passed_over() -> None:
    """A 102 or 103 before the answer is no answer."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + whole(200, RUNNING))

    assert with_server(behave, _poll).state is JobState.RUNNING


_BARE = zlib.compressobj(wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize(
    "name, packed",
    [
        ("gzip", gzip.compress(RUNNING, mtime=0)),
        ("X-GZip", gzip.compress(RUNNING, mtime=0)),
        ("gzip", gzip.compress(RUNNING[:9], mtime=0) + gzip.compress(RUNNING[9:], mtime=0) + b"\0\0"),
        ("deflate", zlib.compress(RUNNING)),
        ("deflate", _BARE.compress(RUNNING) + _BARE.flush()),
        ("identity", RUNNING),
    ],
)
@pytest.mark.parametrize("piece", [1, 1000])
def test_a_packed_answer(name: str, packed: bytes, piece: int) -> None:
    """gzip and deflate are unpacked, however the bytes arrive."""

    async def behave(exchange: Exchange) -> None:
        head, _, body = whole(200, packed, f"Content-Encoding: {name}").partition(b"\r\n\r\n")
        await exchange.send(head + b"\r\n\r\n")
        for start in range(0, len(body), piece):
            await exchange.send(body[start : start + piece])
            await asyncio.sleep(0.01)

    assert with_server(behave, _poll).state is JobState.RUNNING


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
@pytest.mark.parametrize("use", [_refresh, _poll])
def test_a_coding_that_was_not_asked_for(
    coding: str, use: Callable[[OmniClient, RawServer], Awaitable[object]]
) -> None:
    """An answer in a coding that cannot be decoded is named by it, and its refresh may have been started."""
    heads: list[bytes] = []

    async def behave(exchange: Exchange) -> None:
        heads.append(exchange.head)
        await exchange.answer(200, b"\x0b\x02\x80{}\x03", f"Content-Encoding: {coding}")

    with pytest.raises(DeliveryUnknown, match=rf"the answer is encoded as {coding}, which was not asked for") as caught:
        with_server(behave, use)
    assert (caught.value.kind, caught.value.http_status) == (CallErrorKind.UNREADABLE, 200)
    assert b"Accept-Encoding: gzip, deflate\r\n" in heads[0]


def test_the_coding_of_an_error_does_not_matter() -> None:
    """An error status decides, whatever its body is encoded as."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(429, b"xx", "Content-Encoding: br", "Retry-After: 9")

    with pytest.raises(Throttled) as caught:
        with_server(behave, _refresh)
    assert caught.value.retry_after_s == 9.0


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(["Content-Security-Policy: " + "x" * 9_000], id="9000-bytes"),
        pytest.param(["Set-Cookie: " + "x" * 65_000], id="65000-bytes"),
        pytest.param([f"X-Trace-{n}: x" for n in range(300)], id="300-lines"),
    ],
)
def test_long_headers_are_read(headers: list[str]) -> None:
    """Header lines up to 64 KiB, and hundreds of them, do not cost the job's id."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"jobId": "j"}', *headers)

    assert with_server(behave, _refresh).job_id == "j"


def test_a_header_line_that_is_too_long_is_reported() -> None:
    """An answer that is lost for a header line says that it is the line's length."""
    with pytest.raises(DeliveryUnknown, match="a header line of the answer is longer than 65536 bytes"):
        with_server(_long_header, _refresh)


@pytest.mark.parametrize("padding", [0, 60_000])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_answer_that_came_while_the_process_was_suspended(scheme: str, padding: int, tmp_path: Path) -> None:
    """What is in the socket is read before a call counts as timed out: a suspended process keeps the job's id."""

    async def behave(exchange: Exchange) -> None:
        exchange.writer.write(whole(200, b'{"jobId": "j"}' + b" " * padding))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        loop.suspend(3600)

    async def main() -> str | None:
        tls = make_server_context(tmp_path) if scheme == "https" else None
        ca_file = write_authority(tmp_path) if tls else None
        async with serving(behave, tls) as server, client(server.base_url(scheme), ca_file=ca_file) as omni:
            return (await omni.refresh(ASK, KEY)).job_id

    assert virtual.run(main(), debug=True) == "j"


def test_a_suspended_process_waits_no_longer_for_the_rest() -> None:
    """After a suspension only what has arrived is read: an answer that is cut short ends the call at once."""

    async def behave(exchange: Exchange) -> None:
        exchange.writer.write(whole(200, b'{"jobId": "j"}')[:-4])
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        loop.suspend(3600)
        await asyncio.sleep(1000)

    async def main(omni: OmniClient, _: RawServer) -> float:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with pytest.raises(DeliveryUnknown) as caught:
            await omni.refresh(ASK, KEY)
        assert caught.value.kind is CallErrorKind.TIMEOUT
        return loop.time() - began_s

    assert with_server(behave, main) == pytest.approx(3600, abs=0.1)


@pytest.mark.parametrize("packed", [True, False])
def test_an_endless_answer(packed: bool) -> None:
    """An answer is read up to a limit of decoded bytes; a bomb of gzip costs no more memory than a plain one."""
    bomb = gzip.compress(b'{"x": "' + b"a" * (60 << 20))

    async def behave(exchange: Exchange) -> None:
        if packed:
            await exchange.answer(200, bomb, "Content-Encoding: gzip")
            return
        await exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await exchange.send(b"a" * (64 << 10))

    async def main(omni: OmniClient, server: RawServer) -> int:
        tracemalloc.start()
        with pytest.raises(DeliveryUnknown, match=r"longer than 1048576 bytes") as caught:
            await omni.job("j", KEY)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (caught.value.kind, caught.value.http_status) == (CallErrorKind.UNREADABLE, 200)
        return peak

    assert with_server(behave, main) < 16 << 20


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """A redirect is an error that names its place; neither the key nor a GET ever goes there."""
    elsewhere: list[Exchange] = []

    async def other(exchange: Exchange) -> None:
        elsewhere.append(exchange)
        await exchange.answer(200, b'{"status": "completed"}')

    async def main() -> RefreshAnswer:
        async with serving(other) as second:
            place = second.base_url().replace("http://", "http://me:pw@") + "/api/v1/x?key=1"

            async def behave(exchange: Exchange) -> None:
                await exchange.answer(status, b"", f"Location: {place}")

            async with serving(behave) as server, client(server.base_url()) as omni:
                return await omni.refresh(ASK, KEY)

    with pytest.raises(Refused, match=rf"{status}.*http://127\.0\.0\.1:\d+/api/v1/x;") as caught:
        virtual.run(main(), debug=True)
    assert caught.value.kind is CallErrorKind.REDIRECT
    assert "pw" not in caught.value.message
    assert not elsewhere
