"""A document for a webhook: sent once, over real sockets in virtual time, and no error shows the address."""

import asyncio
import json
from pathlib import Path

import pytest

from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, Refused, Unsent
from orchestrator.omni.post_json import post_json
from orchestrator.simulator import virtual
from tests.omni.certificates import make_server_context, write_authority
from tests.omni.raw_server import Behaviour, Exchange, RawServer, serving

DOCUMENT = {"text": "Ünï 🎉 \ud800", "count": 2}


async def _body(exchange: Exchange) -> bytes:
    length = next(line for line in exchange.head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return await exchange.reader.readexactly(int(length.split(b":")[1]))


def _post(
    behave: Behaviour, address: str = "http://me:canary@127.0.0.1:{port}/hook?token=canary"
) -> tuple[int, RawServer]:
    async def main() -> tuple[int, RawServer]:
        async with serving(behave) as server:
            url = address.format(port=server.port)
            return await post_json(url, DOCUMENT, timeout_s=10, user_agent="test/1"), server

    return virtual.run(main(), debug=True)


def _fails(behave: Behaviour, address: str = "http://me:canary@127.0.0.1:{port}/hook?token=canary") -> CallError:
    with pytest.raises(CallError) as caught:
        _post(behave, address)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None
    return caught.value


def test_a_document_arrives_whole() -> None:
    """It is JSON in ASCII, once, with its type; a user name and password in the address become a header."""
    bodies = []

    async def take(exchange: Exchange) -> None:
        bodies.append(await _body(exchange))
        await exchange.answer(204)

    status, server = _post(take)
    (exchange,) = server.exchanges
    head = exchange.head.decode()
    assert status == 204
    assert head.startswith("POST /hook?token=canary HTTP/1.1\r\n")
    assert "Content-Type: application/json\r\n" in head
    assert "Authorization: Basic bWU6Y2FuYXJ5\r\n" in head
    assert "User-Agent: test/1\r\n" in head
    assert [json.loads(body) for body in bodies] == [DOCUMENT]


@pytest.mark.parametrize(
    "status, headers, says",
    [
        (302, ("Location: http://127.0.0.1:1/canary",), "a redirect (302), which is not followed"),
        (307, (), "a redirect (307), which is not followed"),
        (404, (), "it answered 404: no such channel"),
        (500, (), "it answered 500: no such channel"),
    ],
)
def test_a_refusal_says_why(status: int, headers: tuple[str, ...], says: str) -> None:
    """A redirect is not followed, and any other answer than a 2xx is told with the server's words."""

    async def refuse(exchange: Exchange) -> None:
        await _body(exchange)
        await exchange.answer(status, b"no such channel", *headers)

    error = _fails(refuse)
    assert isinstance(error, Refused)
    assert error.http_status == status
    assert says in str(error)


def test_a_silent_server_is_given_up() -> None:
    """It takes its time limit at most."""

    async def main() -> float:
        async def sleep(exchange: Exchange) -> None:
            await asyncio.sleep(1_000_000)

        async with serving(sleep) as server:
            began_at = asyncio.get_running_loop().time()
            with pytest.raises(DeliveryUnknown, match="no whole answer within 10 s"):
                await post_json(f"http://127.0.0.1:{server.port}/", DOCUMENT, timeout_s=10)
            return asyncio.get_running_loop().time() - began_at

    assert 9.9 < virtual.run(main(), debug=True) < 10.5


def test_a_connection_that_breaks() -> None:
    """An answer that never comes, or is no HTTP, is an error of ours."""

    async def close(exchange: Exchange) -> None:
        exchange.close()

    async def babble(exchange: Exchange) -> None:
        await exchange.send(b"\x00\x01 hello\r\n\r\n")

    assert _fails(close).kind is CallErrorKind.CUT_OFF
    assert _fails(babble).kind in {CallErrorKind.UNREADABLE, CallErrorKind.CUT_OFF}


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/canary", "http://canary.invalid/", "https://", "http://[canary/"]
)
def test_no_server(address: str) -> None:
    """A closed port, an unknown name, an invalid address: nothing was sent."""
    with pytest.raises(Unsent) as caught:
        virtual.run(post_json(address, DOCUMENT, timeout_s=5), debug=True)
    assert "/canary" not in str(caught.value)


def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an unknown authority is refused; SSL_CERT_FILE makes the authority trusted."""

    async def accept(exchange: Exchange) -> None:
        await _body(exchange)
        await exchange.answer(200)

    async def main() -> int:
        async with serving(accept, make_server_context(tmp_path)) as server:
            return await post_json(f"https://127.0.0.1:{server.port}/", DOCUMENT, timeout_s=5)

    with pytest.raises(Unsent) as caught:
        virtual.run(main(), debug=True)
    assert caught.value.kind is CallErrorKind.TLS
    monkeypatch.setenv("SSL_CERT_FILE", str(write_authority(tmp_path)))
    assert virtual.run(main(), debug=True) == 200


def test_proxies_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy is asked, without credentials in an error; `direct` leaves it out."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:canary@127.0.0.1:1")

    async def accept(exchange: Exchange) -> None:
        await _body(exchange)
        await exchange.answer(200)

    address = "https://me:canary@hooks.invalid/hook?token=canary"
    assert _fails(accept, address).kind is CallErrorKind.PROXY

    async def main() -> int:
        return await post_json(address, DOCUMENT, timeout_s=5, direct=True)

    with pytest.raises(Unsent) as caught:
        virtual.run(main(), debug=True)
    assert caught.value.kind is CallErrorKind.DNS
