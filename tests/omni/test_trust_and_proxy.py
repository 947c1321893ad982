"""Certificates and proxies: the settings of the machine and of the instance are honoured, and never verification lost."""

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.omni import network as proxies
from orchestrator.omni.answers import RefreshRequest
from orchestrator.omni.errors import CallError, CallErrorKind, Unsent
from orchestrator.omni.network import make_tls_context
from orchestrator.simulator import virtual
from tests.omni.certificates import make_server_context, write_authority
from tests.omni.raw_server import KEY, MODEL, Exchange, client, instance, serving

ASK = RefreshRequest(model_id=MODEL, hard=True)
CREDENTIALS = "Proxy-Authorization: Basic " + base64.b64encode(b"me:p@ss").decode()


async def _accept(exchange: Exchange) -> None:
    await exchange.answer(200, b'{"jobId": "j"}')


def _refresh_over_tls(folder: Path, *, ca_file: Path | None = None, host: str = "127.0.0.1") -> str | None:
    """Refresh at a server whose certificate a company's authority signed; the job's id."""

    async def main() -> str | None:
        async with serving(_accept, make_server_context(folder)) as server:
            base_url = f"https://{host}:{server.port}"
            async with client(base_url, ca_file=ca_file) as omni:
                return (await omni.refresh(ASK, KEY)).job_id

    return virtual.run(main(), debug=True)


def test_an_unknown_authority(tmp_path: Path) -> None:
    """A certificate that is not trusted ends the call at once, not to be tried again, and names both settings."""
    with pytest.raises(Unsent, match=r"is not trusted: .*ca_file.*SSL_CERT_FILE") as caught:
        _refresh_over_tls(tmp_path)
    assert caught.value.kind is CallErrorKind.TLS
    assert not caught.value.is_retryable


def test_a_private_authority_by_manifest(tmp_path: Path) -> None:
    """`ca_file` makes a company's own authority trusted."""
    assert _refresh_over_tls(tmp_path, ca_file=write_authority(tmp_path)) == "j"


def test_a_private_authority_by_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does `SSL_CERT_FILE`."""
    monkeypatch.setenv("SSL_CERT_FILE", str(write_authority(tmp_path)))
    assert _refresh_over_tls(tmp_path) == "j"


def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    """A trusted authority does not excuse a certificate for another host."""
    with pytest.raises(Unsent, match=r"is not trusted: .*0\.0\.0\.0") as caught:
        _refresh_over_tls(tmp_path, ca_file=write_authority(tmp_path), host="0.0.0.0")
    assert caught.value.kind is CallErrorKind.TLS


def _refresh_at(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Unsent:
    """Refresh over https at a server that does what it likes with the connection; the error."""

    async def main() -> Unsent:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            address = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            async with client(address) as omni:
                with pytest.raises(Unsent) as caught:
                    await omni.refresh(ASK, KEY)
            return caught.value

    return virtual.run(main(), debug=True)


def test_tls_to_a_server_without_it() -> None:
    """A server that speaks no TLS is a TLS error: waiting does not heal it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    error = _refresh_at(serve)
    assert error.kind is CallErrorKind.TLS
    assert error.message.startswith("no TLS connection to 127.0.0.1:")
    assert not error.is_retryable


def test_a_handshake_that_is_cut_off() -> None:
    """A connection that ends in the handshake was never a request, and may be tried again."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    error = _refresh_at(serve)
    assert error.kind is CallErrorKind.CONNECT
    assert error.is_retryable


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used(content: str | None, tmp_path: Path) -> None:
    """A `ca_file` that is missing or holds no certificate is an error of the settings, before the first call."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content, encoding="ascii")
    with pytest.raises(UsageError, match=rf"ca_file of instance prod: {path}"):
        make_tls_context(instance("https://127.0.0.1", ca_file=path))


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_variable_that_names_nothing(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that names no file or folder is an error of the settings: OpenSSL would silently trust no authority."""
    monkeypatch.setenv(variable, str(tmp_path / "missing"))

    async def main() -> None:
        async with client("https://127.0.0.1:1"):
            pass

    with pytest.raises(UsageError, match=variable):
        virtual.run(main(), debug=True)


def test_verification_is_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting switches the checking of certificates or of names off; only strictness yields to a named authority."""
    plain = make_tls_context(instance("https://127.0.0.1"))
    assert plain.verify_flags == ssl.create_default_context().verify_flags
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    named = make_tls_context(instance("https://127.0.0.1", ca_file=write_authority(tmp_path)))
    assert not named.verify_flags & ssl.VERIFY_X509_STRICT
    for context in (plain, named):
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


OMNI = "https://omni.example"


def _refresh_through(status: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Exchange, CallError | None]:
    """Refresh at another address through a proxy that answers `status` to whatever it is asked."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(status, b'{"jobId": "j"}')

    async def main() -> tuple[Exchange, CallError | None]:
        async with serving(behave) as server:
            monkeypatch.setenv("https_proxy", server.base_url().replace("//", "//me:p%40ss@"))
            async with client(f"{OMNI}/bi") as omni:
                try:
                    await omni.refresh(ASK, KEY)
                except CallError as error:
                    return server.exchanges[0], error
            return server.exchanges[0], None

    return virtual.run(main(), debug=True)


@pytest.mark.parametrize("status", [403, 407, 502, 503])
def test_a_proxy_that_refuses_a_tunnel(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel that the proxy does not open was never a request; the proxy never sees our key, nor a log its password."""
    exchange, error = _refresh_through(status, monkeypatch)
    assert exchange.head.startswith(b"CONNECT omni.example:443 ")
    assert CREDENTIALS in exchange.head.decode()
    assert "SECRETKEY123" not in exchange.head.decode()
    assert isinstance(error, Unsent)
    assert error.kind is CallErrorKind.PROXY
    assert str(status) in error.message
    assert "p%40ss" not in error.message


def test_a_tunnel_carries_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over https the proxy only joins two connections; the answer comes from behind it."""

    async def main() -> str | None:
        async with serving(_accept, make_server_context(tmp_path)) as server:

            async def join(exchange: Exchange) -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                await exchange.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = asyncio.create_task(_pump(reader, exchange.writer))
                try:
                    await _pump(exchange.reader, writer)
                    await back
                finally:
                    writer.close()

            async with serving(join) as proxy:
                monkeypatch.setenv("https_proxy", proxy.base_url())
                # both stand on this machine, which is never reached through a proxy
                monkeypatch.setattr(proxies, "is_loopback", lambda _: False)
                async with client(server.base_url("https"), ca_file=write_authority(tmp_path)) as omni:
                    return (await omni.refresh(ASK, KEY)).job_id

    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    assert virtual.run(main(), debug=True) == "j"


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed proxy is named, without its credentials."""
    monkeypatch.setenv("https_proxy", "http://me:pw@127.0.0.1:9")

    async def main() -> None:
        async with client(OMNI) as omni:
            await omni.refresh(ASK, KEY)

    with pytest.raises(Unsent, match=r"through the proxy 127\.0\.0\.1:9 \(https_proxy\): connection refused") as caught:
        virtual.run(main(), debug=True)
    assert caught.value.kind is CallErrorKind.PROXY


def test_a_proxy_that_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that closes the connection while the tunnel is asked for let nothing through."""

    async def hang_up(exchange: Exchange) -> None:
        exchange.close()

    async def main() -> None:
        async with serving(hang_up) as proxy:
            monkeypatch.setenv("https_proxy", proxy.base_url())
            async with client(OMNI) as omni:
                await omni.refresh(ASK, KEY)

    with pytest.raises(Unsent) as unsent:
        virtual.run(main(), debug=True)
    assert unsent.value.kind is CallErrorKind.PROXY


@pytest.mark.parametrize("variable", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_a_key_for_this_machine_stays_on_it(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call to loopback goes straight, whatever the variables say: a proxy would see the key."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")

    async def main() -> str | None:
        async with serving(_accept) as server, client(server.base_url()) as omni:
            return (await omni.refresh(ASK, KEY)).job_id

    assert virtual.run(main(), debug=True) == "j"


def test_a_stand_in_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is told to go straight does not even look at the variables."""
    monkeypatch.setenv("http_proxy", "http://[::1:3128")

    async def main() -> str | None:
        async with serving(_accept) as server, client(server.base_url(), direct=True) as omni:
            return (await omni.refresh(ASK, KEY)).job_id

    assert virtual.run(main(), debug=True) == "j"


def test_netrc_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry for the host in `.netrc` neither replaces the key nor joins it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password else\n", encoding="ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    heads: list[bytes] = []

    async def behave(exchange: Exchange) -> None:
        heads.append(exchange.head)
        await exchange.answer(200, b'{"jobId": "j"}')

    async def main() -> None:
        async with serving(behave) as server, client(server.base_url()) as omni:
            await omni.refresh(ASK, KEY)

    virtual.run(main(), debug=True)
    assert heads[0].count(b"Authorization") == 1
    assert b"Authorization: Bearer SECRETKEY123\r\n" in heads[0]
