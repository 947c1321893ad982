"""A simulated instance, and runs against it in processes of their own that are stopped by signals."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.simulator.calls import Call
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from tests.cli.commands import SHORT_JOBS, Done, call, start, write_manifest
from tests.cli.serving import serving
from tests.rehearsal import uuid

SLOW = {"default_model": {"duration": 0.7}}


class Omni:
    """A simulated instance that serves in a thread, and its call log."""

    def __init__(self, simulator: Simulator) -> None:
        self.url = simulator.url
        self._simulator = simulator

    @property
    def calls(self) -> list[Call]:
        """Every call so far."""
        return list(self._simulator.calls)

    @property
    def posts(self) -> list[Call]:
        """The refresh calls so far."""
        return [c for c in self.calls if c.method == "POST"]

    def wait_for(self, seen: Callable[["Omni"], bool]) -> None:
        """Wait until the instance has seen this."""
        until = time.monotonic() + 15
        while not seen(self):
            assert time.monotonic() < until, "it never came"
            time.sleep(0.02)


@contextmanager
def simulated(**sections: object) -> Iterator[Omni]:
    """An instance with short jobs, unless `sections` of its scenario say otherwise. It serves until the block ends."""
    with serving(make_scenario(**{**SHORT_JOBS, **sections})) as simulator:
        yield Omni(simulator)


def manifest_for(omni: Omni, folder: Path, *, models: int = 6, per_s: int = 100, request_timeout: str = "30s") -> str:
    """A manifest over the simulated instance, each model on a connection of its own."""
    limit = {"requests": per_s, "per": "1s"}
    instance = {"base_url": omni.url, "api_keys": ["${OMNI_API_TOKEN}"], "rate_limit": limit}
    instances = {"sim": {**instance, "request_timeout": request_timeout}}
    listed = [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}"} for n in range(1, models + 1)]
    return write_manifest(folder, *listed, instances=instances)


def run_until(
    omni: Omni, manifest: str, folder: Path, seen: Callable[[Omni], bool], number: int, *options: str
) -> Done:
    """Start a run, send it a signal once the instance has seen something, and wait for its end."""
    with start(
        "run", manifest, "--report", "r.json", "--grace", "300ms", *options,
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        omni.wait_for(seen)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    return Done(code=process.returncode, out=out.decode(), err=err.decode())


def statuses(path: Path) -> dict[str, str]:
    """What a report says of each target."""
    return {o["name"]: o["status"] for o in json.loads(path.read_text())["outcomes"]}


def runs(capfd: Any) -> list[dict[str, Any]]:
    """The history."""
    return list(call(capfd, "history", "--json").document["runs"])
