"""Commands that cannot reach an instance or may not use it: each first mistake, over real sockets on loopback."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.simulator.reading import make_scenario
from tests.cli.commands import KEY, call, write_manifest
from tests.cli.serving import serving
from tests.omni.certificates import make_server_context
from tests.rehearsal import uuid

STAGED = make_scenario(models=[{"name": "Sales"}], limit={"requests": 1000, "per": 1})


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that the manifests name."""
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)


@pytest.mark.parametrize("command", ["run", "plan", "check", "discover"])
@pytest.mark.parametrize("proxy", ["http://[::1:3128", "http://svc:Sup3r#Secret@p:3128"])
def test_a_malformed_proxy_variable(
    command: str, proxy: str, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 and one line that names the variable and shows nothing of it; no run is left behind that never began."""
    monkeypatch.setenv("HTTP_PROXY", proxy)
    path = write_manifest(tmp_path, {"model": "Sales"})
    words = {"check": ["check", path, "--online"], "discover": ["discover", "--like", path]}
    done = call(capfd, *words.get(command, [command, path]), "--quiet")
    assert done.code == 2
    first, *rest = done.err.splitlines()
    assert first.startswith("error[unusable-proxy]: ")
    assert "HTTP_PROXY" in first
    assert all(line.startswith("  = help: ") for line in rest)
    assert not any(secret in done.err + done.out for secret in ("Sup3r", "Secret", "svc"))
    assert call(capfd, "history", "--json").document["runs"] == []


def test_a_run_whose_certificates_cannot_be_read_never_began(
    tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 for a setting that names nothing, and no run in the history."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    instances = {"sim": {"base_url": "https://127.0.0.1:1", "api_keys": ["${OMNI_API_TOKEN}"]}}
    done = call(capfd, "run", write_manifest(tmp_path, {"model": "Sales"}, instances=instances))
    assert done.code == 2
    assert "SSL_CERT_FILE" in done.err
    assert call(capfd, "history", "--json").document["runs"] == []


@pytest.mark.parametrize("command", ["run", "plan", "check", "discover"])
def test_a_certificate_that_is_not_trusted(command: str, tmp_path: Path, capfd: Any) -> None:
    """Each command ends at once with exit 1, and says the cause, the address, where it is written, and `ca_file`."""
    with serving(STAGED, make_server_context(tmp_path)) as simulator:
        instances = {"sim": {"base_url": simulator.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
        path = write_manifest(tmp_path, {"model": "Sales"}, instances=instances)
        words = {"check": ["check", path, "--online"], "discover": ["discover", "--like", path]}
        done = call(capfd, *words.get(command, [command, path]))
    assert done.code == 1, done.err
    said = " ".join((done.out + done.err).split())
    for words_of_it in (
        "its issuer is not known", simulator.url.removeprefix("https://"), f"base_url in {path}:1:", "ca_file",
    ):  # fmt: skip
        assert words_of_it in said


@contextmanager
def refusing_proxy(status: str) -> Iterator[int]:
    """The port of a proxy that answers each request with `status`, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)


def said_by_run(capfd: Any, folder: Path, url: str, code: int) -> str:
    """What a run of one model on the instance at `url` says on its streams, as one line. It ends with `code`."""
    instances = {"sim": {"base_url": url, "api_keys": ["${OMNI_API_TOKEN}"]}}
    path = write_manifest(folder, {"id": uuid(1), "name": "Sales"}, instances=instances, defaults={})
    done = call(capfd, "run", path)
    assert done.code == code, done.err
    return " ".join((done.out + done.err).split())


def check_words(said: str, *words: str) -> None:
    """Each of these stands in the text, and the command that runs the corrected manifest ends it."""
    missing = [each for each in (*words, "m.yaml --select Sales") if each not in said]
    assert not missing, (missing, said)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that no call ever reached is given up at once, not after 15 s."""
    monkeypatch.setattr("orchestrator.engine.calls.UNREACHABLE_S", 0.1)


@pytest.mark.usefixtures("soon")
def test_a_wrong_host(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause, the name, the manifest's line, and what to check."""

    def unknown(*args: object, **settings: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = said_by_run(capfd, tmp_path, "https://blobsrsu.invalid", 1)
    check_words(said, "no call ever reached the instance", "the host name of blobsrsu.invalid", "is not known")
    check_words(said, f"(base_url in {tmp_path}/m.yaml:1:", "check base_url and this machine's name resolution")


@pytest.mark.usefixtures("soon")
def test_a_port_that_refuses(tmp_path: Path, capfd: Any) -> None:
    """The cause, the address, the manifest's line, and what to check."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = said_by_run(capfd, tmp_path, f"http://127.0.0.1:{port}", 1)
    check_words(said, f"no connection to 127.0.0.1:{port} (base_url in {tmp_path}/m.yaml:1:", "connection refused")
    check_words(said, "-> check base_url, the network and the proxy settings")


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "status, words",
    [
        ("403 Forbidden", "it answered 403 -> check HTTPS_PROXY and NO_PROXY"),
        (
            "407 Proxy Authentication Required",
            "it answered 407, so it needs a user name and a password",
        ),
    ],
)
def test_a_proxy_that_refuses(
    status: str, words: str, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy, its variable, the address behind it with the manifest's line, and what to check."""
    with refusing_proxy(status) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        said = said_by_run(capfd, tmp_path, "https://blobsrus.omniapp.example", 1)
    check_words(said, f"the proxy 127.0.0.1:{port} (HTTPS_PROXY) refused to connect to blobsrus.omniapp.example", words)
    check_words(said, f"(base_url in {tmp_path}/m.yaml:1:")


def test_a_refused_key(tmp_path: Path, capfd: Any) -> None:
    """The variable, the address that refused it, the manifest's line, and where keys are made; exit code 3."""
    with serving(make_scenario(keys=["another"], default_model={})) as simulator:
        said = said_by_run(capfd, tmp_path, simulator.url, 3)
    address = simulator.url.removeprefix("http://")
    check_words(said, f"refused every key: OMNI_API_TOKEN at {address} (base_url in {tmp_path}/m.yaml:1:")
    check_words(said, "-> set it to a key that is valid at this address", "under Settings, API keys")
    assert KEY not in said


def test_a_missing_role(tmp_path: Path, capfd: Any) -> None:
    """The server's words, the variable of the key, and the role that it needs."""
    fault = {"method": "POST", "path": uuid(1), "always": True, "status": 403, "message": "Insufficient permissions"}
    with serving(make_scenario(default_model={}, faults=[fault])) as simulator:
        said = said_by_run(capfd, tmp_path, simulator.url, 1)
    check_words(
        said, "403", "Insufficient permissions", "-> the key (OMNI_API_TOKEN) needs Connection Admin, or Modeler"
    )
