"""The guards that every test lives under do stop what they are there to stop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

_OFFENDERS = """
import asyncio, os, socket, time, warnings
import pytest

def test_connect():
    with pytest.raises(PermissionError), socket.socket() as sock:
        sock.connect(("192.0.2.1", 80))

def test_look_up():
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("example.com", 443)

def test_sleep():
    with pytest.raises(AssertionError):
        time.sleep(0.6)

def test_warning():
    warnings.warn("old", DeprecationWarning)

def test_never_awaited():
    async def work(): ...
    work()

def test_loopback_and_unknown_names_are_allowed():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        time.sleep(0.01)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("omni.invalid", 443)

def test_environment():
    assert not {"OMNI_API_TOKEN", "https_proxy", "CI", "TERM"} & set(os.environ)
    assert os.environ["XDG_STATE_HOME"].startswith(os.environ["HOME"])

def test_asyncio_is_in_debug_mode():
    async def main():
        return asyncio.get_running_loop().get_debug()
    assert asyncio.run(main())
"""


@pytest.mark.timeout(120)
def test_offenders_fail_even_when_they_swallow_the_error(tmp_path: Path) -> None:
    """Network, long sleeps, warnings and forgotten coroutines fail a test; loopback, short sleeps, a clean home do not."""
    (tmp_path / "test_offenders.py").write_text(_OFFENDERS, encoding="utf-8")
    options = [
        "-q",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:schemathesis",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), str(tmp_path / "test_offenders.py")],
        cwd=ROOT,
        env={
            **os.environ,
            "OMNI_API_TOKEN": "bait",
            "https_proxy": "http://192.0.2.1:1",
            "CI": "true",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    summary = [line.split(" - ")[0] for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    told = {line.split("::")[-1] for line in summary}
    assert told == {"test_connect", "test_look_up", "test_sleep", "test_warning", "test_never_awaited"}, ran.stdout
