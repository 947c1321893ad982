"""What every test lives under: no network but loopback, no real waiting, nothing of the developer's environment.

Tests in subprocesses inherit the environment that is made here; the guards themselves hold in this process only.
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
"""The longest real sleep that a test may take at once; longer waits belong into virtual time."""

# local times are those of Greenwich, whatever the machine's zone
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
"""What a test sees of the environment. The rest is removed: a CI system's own variables, for example, change the log."""

# Coroutines that are never awaited, slow callbacks, calls from the wrong thread: told, here and in subprocesses.
os.environ["PYTHONASYNCIODEBUG"] = "1"

# Each module is compiled once, and not by every process that a test starts: most of them live for less than a second.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED = 2 << 30


def _is_fit(folder: Path) -> bool:
    """Return whether the tests' folders may lie there: programs can be run in it, and it has room."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    is_open = os.access(folder, os.W_OK | os.X_OK) and not found.f_flag & os.ST_NOEXEC
    return is_open and found.f_bavail * found.f_frsize >= _MEMORY_NEEDED


# Most tests of the state wait for the disk: in memory they do not.
if _is_fit(_MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

# The suite tries the same examples each time, so that it fails only for a change; `long` looks for new ones.
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
    """What a test did that no test may; kept here too, because code under test may swallow the exception."""

    def __init__(self) -> None:
        self.offences: list[str] = []

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        """Refuse connections, datagrams and name look-ups that would leave this machine (an interpreter's audit hook)."""
        if event in {"socket.connect", "socket.sendto"}:
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else None
            if host is not None and not _is_loopback(host):
                self.offences.append(f"{event} {address!r}")
                raise PermissionError(f"a test may talk to loopback only, not to {address!r}")
        elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
            host = arguments[0]
            if host is not None and not _is_loopback(host):
                # The name that is reserved for being unknown is unknown at once, without a question to anybody.
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
# An audit hook sees every way to the network, from C as well; it cannot be taken back, which suits a test process.
sys.addaudithook(_guard.audit)


def pytest_collection_finish() -> None:
    """Take what the collection made out of the garbage collector's sight: it lives to the end, and is large."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home and a state folder of the test's own, and no variable that could change its course."""
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(_KEPT_PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "home" / variable.removesuffix("_HOME").lower()))


@pytest.fixture(autouse=True)
def no_waiting_and_no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test that sleeps for real, or that asks anybody but this machine."""
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
