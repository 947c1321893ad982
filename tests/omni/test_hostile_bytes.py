"""Whatever bytes a server sends, a call ends in an answer or in a CallError, once, within its time."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.answers import RefreshAnswer, RefreshRequest
from orchestrator.omni.errors import CallError
from orchestrator.simulator import virtual
from tests.omni.raw_server import KEY, MODEL, Exchange, client, serving

LINES = [
    *("HTTP/1.1 200 OK", "HTTP/1.1 503 Busy", "HTTP/1.0 429", "HTTP/1.1 302 Found", "HTTP/1.1 100 Continue", "HTTP/9.9 200"),
    *("Content-Length: 2", "Content-Length: 99", "Content-Length: 2, 3", "Transfer-Encoding: chunked", "Connection: close"),
    *("Content-Encoding: gzip", "Content-Encoding: br", "Content-Encoding: zstd", "Set-Cookie: a=b; Expires=never"),
    *("Set-Cookie: \x01=\udcff", "Location: //[", "Retry-After: 1e999", "Date: x", "Upgrade: websocket", "X: \udcff\udcfe"),
    *("", " folded", "no colon", "Content-Type: text/html; charset=\x00", "5", "{}", '{"jobId": 1}', "0"),
]  # fmt: skip


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from(LINES), max_size=12).map(
            lambda lines: "\r\n".join(lines).encode("utf-8", "surrogateescape")
        ),
        st.lists(st.sampled_from(LINES[6:]), max_size=8).map(
            lambda lines: "\r\n".join(["HTTP/1.1 200 OK", *lines]).encode("utf-8", "surrogateescape")
        ),
    ),
    st.booleans(),
    st.sampled_from(["close", "reset", "wait"]),
)
def test_any_bytes(data: bytes, headed: bool, ending: str) -> None:
    """A call survives any bytes, followed by any end of the connection."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send((b"HTTP/1.1 200 OK\r\n" if headed else b"") + data)
        if ending == "wait":
            await asyncio.sleep(1000)
        elif ending == "reset":
            exchange.reset()
        else:
            exchange.close()

    async def main() -> tuple[object, int, float]:
        loop = asyncio.get_running_loop()
        async with serving(behave) as server, client(server.base_url()) as omni:
            started_at_s = loop.time()
            ask = RefreshRequest(model_id=MODEL, hard=True)
            (outcome,) = await asyncio.gather(omni.refresh(ask, KEY), return_exceptions=True)
            return outcome, len(server.exchanges), loop.time() - started_at_s

    outcome, calls, took_s = virtual.run(main())
    assert isinstance(outcome, RefreshAnswer | CallError)
    assert not isinstance(outcome, CallError) or 0 < len(outcome.message) <= 2000
    assert calls == 1
    assert took_s < 30.1
