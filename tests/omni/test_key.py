"""The key: sent once, to one place, and in nothing that anybody may see."""

import asyncio
import base64
import gc
import logging
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest

from orchestrator.manifest.manifest import Secret
from orchestrator.omni.answers import RefreshRequest
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallError, CallErrorKind, KeyRefused, Refused
from orchestrator.simulator import virtual
from tests.omni.raw_server import MODEL, Behaviour, Exchange, client, serving

TEXT = 'omni_osk_S3cr3t/+="x'
SECRET = Secret(TEXT)
FORMS = (TEXT, quote(TEXT, safe=""), base64.b64encode(TEXT.encode()).decode())


def _error_of(behave: Behaviour, key: Secret = SECRET, request_timeout_s: float = 30.0) -> CallError:
    async def main() -> CallError:
        async with serving(behave) as server, client(server.base_url(), request_timeout_s=request_timeout_s) as omni:
            with pytest.raises(CallError) as caught:
                await omni.refresh(RefreshRequest(model_id=MODEL, hard=True), key)
            return caught.value

    return virtual.run(main(), debug=True)


async def _echo(exchange: Exchange) -> None:
    await exchange.answer(
        400, b'{"message": "you sent %s"}' % exchange.head.replace(b"\r\n", b" ").replace(b'"', b'\\"')
    )


async def _echo_encoded(exchange: Exchange) -> None:
    await exchange.answer(500, " ".join(FORMS).encode())


async def _closing(exchange: Exchange) -> None:
    exchange.close()


async def _silent(_: Exchange) -> None:
    await asyncio.sleep(1000)


async def _garbage(exchange: Exchange) -> None:
    await exchange.send(b"garbage\r\n\r\n")


async def _redirecting(exchange: Exchange) -> None:
    await exchange.answer(302, b"", f"Location: https://x.example/{quote(TEXT, safe='')}?k={quote(TEXT)}")


@pytest.mark.parametrize("behave", [_echo, _echo_encoded, _closing, _silent, _garbage, _redirecting])
def test_the_key_is_in_no_error(behave: Behaviour) -> None:
    """Neither an error's text nor its traceback, with every value of every frame, nor what it is chained to, holds it."""
    error = _error_of(behave)
    assert error.__cause__ is None
    assert error.__context__ is None
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    ours = [repr(frame.locals) for frame in frames if "orchestrator" in Path(frame.filename).parts]
    assert len(ours) > 1
    for place in (str(error), repr(error), repr(vars(error)), *ours):
        assert "S3cr3t" not in place


def test_an_error_holds_no_request() -> None:
    """Nothing that can be reached from an error is a request or an exception of the HTTP library."""
    seen: set[int] = set()
    todo: list[object] = [_error_of(_closing).with_traceback(None)]
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, type):
            continue
        seen.add(id(value))
        assert not type(value).__module__.startswith("aiohttp")
        todo.extend(gc.get_referents(value))


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The client and the libraries under it log no key, at any level."""
    caplog.set_level(logging.DEBUG)
    for behave in (_echo, _closing, _garbage):
        _error_of(behave)
    assert "S3cr3t" not in caplog.text


@pytest.mark.parametrize("text", ["", "two\nlines", "two\r\nX-Evil: 1", "schlüssel", "tab\t", "nul\x00", "\udc80"])
def test_a_key_that_no_header_can_carry(text: str) -> None:
    """Such a key is refused before anything is sent, without showing it."""
    sent: list[Exchange] = []

    async def behave(exchange: Exchange) -> None:
        sent.append(exchange)
        await exchange.answer(200)

    error = _error_of(behave, Secret(text))
    assert isinstance(error, KeyRefused)
    assert not text or text not in str(error)
    assert not sent


def test_a_name_that_cannot_be_sent_is_no_call() -> None:
    """A scope that the query cannot carry is refused by us, and nothing is sent."""
    sent: list[Exchange] = []

    async def behave(exchange: Exchange) -> None:
        sent.append(exchange)
        await exchange.answer(200)

    async def main() -> None:
        async with serving(behave) as server, client(server.base_url()) as omni:
            await omni.refresh(RefreshRequest(model_id=MODEL, hard=False, tables=("a,b",)), SECRET)

    with pytest.raises(Refused) as caught:
        virtual.run(main(), debug=True)
    assert caught.value.kind is CallErrorKind.BAD_REQUEST
    assert caught.value.__context__ is None
    assert not sent


def test_credentials_in_the_base_url_are_not_sent() -> None:
    """A user and password in the base URL never take the key's place."""
    heads: list[bytes] = []

    async def behave(exchange: Exchange) -> None:
        heads.append(exchange.head)
        await exchange.answer(200, b'{"jobId": "j", "status": "running"}')

    async def main() -> None:
        async with serving(behave) as server:
            omni: OmniClient = client(server.base_url().replace("//", "//me:pw@"))
            async with omni:
                await omni.refresh(RefreshRequest(model_id=MODEL, hard=True), SECRET)

    virtual.run(main(), debug=True)
    assert heads[0].count(b"Authorization:") == 1
    assert f"Authorization: Bearer {TEXT}\r\n".encode() in heads[0]
