"""Metrics and notifications after a run."""

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app import after_run
from orchestrator.report.files import ReportError
from tests.cli.commands import Done, call, start, write_manifest, write_scenario
from tests.cli.live import Omni, manifest_for
from tests.rehearsal import uuid
from tests.report.test_prometheus import parse, value

Here = Callable[..., Done]
CANARY = "canary-of-a-webhook"


@pytest.fixture
def here(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Runs a command in this process, with the variables that the manifests name."""
    monkeypatch.setenv("OMNI_API_TOKEN", "simulated-key-0")
    return partial(call, capfd)


class Hook(http.server.ThreadingHTTPServer):
    """A webhook on this machine: `/broken` refuses, any other path accepts; what came is kept."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        super().__init__(("127.0.0.1", 0), partial(_Receiver, self.received))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Receiver(http.server.BaseHTTPRequestHandler):
    def __init__(self, received: list[Any], *args: Any) -> None:
        self._received = received
        super().__init__(*args)

    def do_POST(self) -> None:
        self._received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(500 if "broken" in self.path else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook that listens."""
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[str]:
    """The address of a simulated instance in a process of its own, whose second model is refused."""
    faults = [{"method": "POST", "path": uuid(2), "always": True, "status": 400, "message": "no, never"}]
    scenario = write_scenario(
        tmp_path, faults=faults, models=[{"id": uuid(n), "connection": f"c{n}", "duration": 0.05} for n in (1, 2, 3)]
    )
    with start("simulate", scenario, "--port", "0", cwd=tmp_path, stdout=-1) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        yield next(word for word in line.split() if word.startswith("http://"))
        process.terminate()


def manifest_of(tmp_path: Path, base_url: str, notify: list[dict[str, str]]) -> str:
    """A manifest of three models on an instance that is there."""
    instance = {"base_url": base_url, "api_keys": ["${OMNI_API_TOKEN}"], "rate_limit": {"requests": 100, "per": "1s"}}
    return write_manifest(tmp_path, instances={"sim": instance}, notify=notify)


def test_metrics_are_written_and_remember(here: Here, omni: Callable[..., Omni], tmp_path: Path) -> None:
    """A run's metrics stand in the file; a model that fails in the next run keeps the time of its last success."""
    faults = [{"method": "POST", "path": uuid(2), "nth": [2], "status": 400}]
    manifest = manifest_for(omni(default_model={"duration": 0.05}, faults=faults), tmp_path, models=3)
    path = tmp_path / "omni.prom"
    assert here("run", manifest, "--metrics-file", str(path)).code == 0
    first = parse(path.read_text(encoding="utf-8"))
    assert value(first, "omni_refresh_outcomes", status="succeeded", manifest=manifest) == 3
    assert value(first, "omni_refresh_calls", kind="submit", status="2xx") == 3
    assert value(first, "omni_refresh_run_exit_code") == 0
    at = value(first, "omni_refresh_model_last_success_timestamp_seconds", model="m2")
    assert here("run", manifest, "--metrics-file", str(path), "--select", "m2").code == 1
    second = parse(path.read_text(encoding="utf-8"))
    assert value(second, "omni_refresh_outcomes", status="rejected") == 1
    assert value(second, "omni_refresh_run_exit_code") == 1
    for name in ("m1", "m2", "m3"):
        assert value(second, "omni_refresh_model_last_success_timestamp_seconds", model=name) is not None
    assert value(second, "omni_refresh_model_last_success_timestamp_seconds", model="m2") == at


def test_metrics_that_cannot_be_written(
    here: Here, omni: Callable[..., Omni], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path in no folder is found before the first call; a disk that is full in the end is exit code 5, the result is told."""
    manifest = manifest_for(omni(default_model={"duration": 0.05}), tmp_path, models=3)
    done = here("run", manifest, "--metrics-file", str(tmp_path / "no" / "m.prom"))
    assert done.code == 2
    assert "there is no folder" in done.err

    def full(path: str, content: str) -> None:
        raise ReportError(f"{path} was not written: no space left on device")

    monkeypatch.setattr(after_run, "write_report", full)
    done = here("run", manifest, "--metrics-file", str(tmp_path / "m.prom"))
    assert done.code == 5
    assert "no space left" in done.err
    assert "3 succeeded" in done.out


def test_notifications_are_sent(
    here: Here, hook: Hook, instance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that fails reaches the webhook with its summary; one that is refused is a warning; the code stays 1."""
    monkeypatch.setenv("HOOK", f"{hook.url}/{CANARY}")
    notify = [{"webhook": "${HOOK}"}, {"webhook": f"{hook.url}/broken", "on": "always"}]
    done = here("run", manifest_of(tmp_path, instance, notify), "--metrics-file", "m.prom")
    assert done.code == 1
    assert [message["summary"]["rejected"] for message in hook.received] == [1, 1]
    (failure,) = hook.received[0]["failures"]
    assert (failure["name"], failure["message"]) == ("m2", "no, never")
    assert hook.received[0]["next"] == f"omni-refresh run {tmp_path / 'm.yaml'} --select m2"
    assert hook.received[0]["reports"] == [str(tmp_path / "omni-refresh-report.json")]
    assert "warn   the notification by webhook " in done.err
    assert CANARY not in done.err + done.out
    assert CANARY not in (tmp_path / "omni-refresh-report.json").read_text(encoding="utf-8")


def test_a_change_is_reported_once(here: Here, hook: Hook, instance: str, tmp_path: Path) -> None:
    """`on: change` is told of the first failure and not of the same one again; `retry` reads the address anew."""
    manifest = manifest_of(tmp_path, instance, [{"webhook": f"{hook.url}/x", "on": "change"}])
    assert here("run", manifest).code == 1
    assert len(hook.received) == 1
    assert here("run", manifest).code == 1
    assert len(hook.received) == 1


def test_retry_sends_the_same_notifications(
    here: Here, hook: Hook, instance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry reads the address again from its variable; where that is gone it says so and goes on."""
    monkeypatch.setenv("HOOK", f"{hook.url}/{CANARY}")
    manifest = manifest_of(tmp_path, instance, [{"webhook": "${HOOK}"}])
    assert here("run", manifest).code == 1
    assert here("retry").code == 1
    assert [message["run"]["trigger"] for message in hook.received] == ["run", "retry"]
    monkeypatch.delenv("HOOK")
    done = here("retry")
    assert done.code == 1
    assert "the variable HOOK is not set" in done.err
    assert len(hook.received) == 2


def test_a_simulation_sends_no_notification(here: Here, hook: Hook, tmp_path: Path) -> None:
    """With --simulate no notification is sent, and none of the variables is needed."""
    assert "HOOK" not in os.environ
    manifest = write_manifest(tmp_path, notify=[{"webhook": f"{hook.url}/x", "on": "always"}, {"webhook": "${HOOK}"}])
    assert here("run", manifest, "--simulate").code == 0
    assert hook.received == []
