"""Rules for every test: loopback is the only network, no test sleeps for long, the developer's environment is hidden.

Subprocesses inherit the environment that this module sets; the guards work in the test process only.
"""

import gc
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

MAX_SLEEP_S = 0.5
"""The longest real sleep that a test may make; longer waits use virtual time."""

# Local time is UTC on every machine.
os.environ["TZ"] = "UTC"
time.tzset()

_KEPT = frozenset(
    [
        "PATH",
        "HOME",
        "TMPDIR",
        "TZ",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "VIRTUAL_ENV",
        "USER",
        "LOGNAME",
        "AIRFLOW",
        "AXE_CORE",
        "CHROMIUM",
        "OLDEST_PIP",
        "OVERLAP_MANIFESTS",
        "PACKAGE_INDEX",
    ]
)
_KEPT_PREFIXES = ("PYTHON", "PYTEST", "COV", "PIP_", "HYPOTHESIS")
"""The environment variables that tests keep. The others are removed: a CI system's variables, for example, change the log."""

# asyncio reports coroutines that are never awaited, slow callbacks and calls from the wrong thread, also in subprocesses.
os.environ["PYTHONASYNCIODEBUG"] = "1"

# Processes that tests start share the compiled modules, because most of them run for less than a second.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED = 2 << 30


def _is_fit(folder: Path) -> bool:
    """Return whether tests can use this folder for temporary files: it can execute programs and has enough space."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    is_open = os.access(folder, os.W_OK | os.X_OK) and not found.f_flag & os.ST_NOEXEC
    return is_open and found.f_bavail * found.f_frsize >= _MEMORY_NEEDED


# Temporary files are in memory, so that tests of the state do not wait for the disk.
if _is_fit(_MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

# The default profile uses the same examples in each run, so that only a change can fail it; `long` searches for new ones.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    database=None,
)
settings.register_profile(
    "long", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow], derandomize=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "default")


class _Guard:
    """Records forbidden actions of a test, because code under test may swallow the exception."""

    def __init__(self) -> None:
        self.offences: list[str] = []

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        """Refuse connections, datagrams and name look-ups that would leave this machine (an audit hook)."""
        if event in {"socket.connect", "socket.sendto"}:
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else None
            if host is not None and not _is_loopback(host):
                self.offences.append(f"{event} {address!r}")
                raise PermissionError(f"a test may talk to loopback only, not to {address!r}")
        elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
            host = arguments[0]
            if host is not None and not _is_loopback(host):
                # `.invalid` is reserved (RFC 2606) and never resolves, so a look-up of it is no offence.
                if not _text(host).rstrip(".").endswith(".invalid"):
                    self.offences.append(f"{event} {host!r}")
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _text(host: object) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)


def _is_loopback(host: object) -> bool:
    name = _text(host)
    if name in {"", "localhost", "ip6-localhost"}:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


_guard = _Guard()
# An audit hook also sees calls from C. It cannot be removed, and a test process does not need to remove it.
sys.addaudithook(_guard.audit)


def pytest_collection_finish() -> None:
    """Exclude the collected tests from garbage collection: they are many and stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give each test its own home and state folders, and remove other environment variables."""
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(_KEPT_PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "home" / variable.removesuffix("_HOME").lower()))


@pytest.fixture(autouse=True)
def no_waiting_and_no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that sleeps for too long or connects to another machine."""
    sleep = time.sleep

    def short_sleep(seconds: float) -> None:
        if seconds > MAX_SLEEP_S:
            _guard.offences.append(f"time.sleep({seconds})")
            raise AssertionError(f"a test may not sleep for {seconds} s; use virtual time")
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", short_sleep)
    _guard.offences.clear()
    yield
    offences = tuple(_guard.offences)
    _guard.offences.clear()
    if offences:
        pytest.fail("; ".join(offences), pytrace=False)
