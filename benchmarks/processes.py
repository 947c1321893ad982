"""Runs in processes of their own against a simulated instance in another one, in real time: what virtual time cannot show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from orchestrator.simulator.calls import Call, read_calls


def model_id(number: int) -> str:
    """The id of the `number`-th model."""
    return str(uuid.UUID(int=(0x0C << 120) | (4 << 76) | (8 << 60) | number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder with an instance: what is run there shares the state folder."""

    folder: Path
    url: str
    log: Path

    @property
    def calls(self) -> Sequence[Call]:
        """Every call that the instance has seen so far."""
        return read_calls(self.log)

    @property
    def now_s(self) -> float:
        """The present moment on the clock of `calls`, exact to the latency of one answer."""
        return self.calls[-1].t_s + time.time() - self.log.stat().st_mtime

    def manifest(self, name: str, models: Sequence[Mapping[str, object]], **settings: Any) -> str:
        """Write a manifest over the instance; `rate_limit`, `key` and `defaults` are its settings. The file's name."""
        instance = {
            "base_url": self.url,
            "api_keys": ["${BENCH_KEY}"],
            "rate_limit": settings.get("rate_limit", {"requests": 60, "per": "60s"}),
        }
        defaults = settings.get("defaults", {"poll": {"min": "100ms", "max": "500ms"}, "timeout": "60s"})
        document = {"instances": {"sim": instance}, "defaults": defaults, "models": list(models)}
        (self.folder / name).write_text(json.dumps(document), encoding="utf-8")
        return name

    def start(
        self,
        *args: str,
        state: str = "state",
        key: str = "bench-key",
        stdout: int = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.PIPE,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command without input and output."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *args],
            cwd=self.folder,
            env={
                **_environment(),
                "PYTHONPATH": os.pathsep.join([str(self.folder), *sys.path]),
                "OMNI_REFRESH_LOG_FORMAT": "json",
                "OMNI_REFRESH_STATE_DIR": str(self.folder / state),
                "BENCH_KEY": key,
                **(environ or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )

    def run(self, *args: str, state: str = "state", key: str = "bench-key") -> int:
        """Run a command to its end; its exit code. What it says on stderr is shown where it breaks down."""
        with self.start(*args, state=state, key=key) as process:
            _, err = process.communicate()
        if process.returncode not in (0, 1) or b"Traceback" in err:
            sys.stderr.write(err.decode(errors="replace")[-2000:])
        return process.returncode


@contextmanager
def place(**scenario: object) -> Iterator[Place]:
    """A folder with a simulated instance as `scenario` says; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="omni-refresh-bench-") as name:
        folder = Path(name)
        (folder / "scenario.yaml").write_text(json.dumps(scenario), encoding="utf-8")
        log = folder / "calls.jsonl"
        log.touch()
        with subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "simulate", "scenario.yaml", "--calls", str(log)],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            try:
                yield Place(folder=folder, url=process.stdout.readline().decode().strip(), log=log)
            finally:
                process.terminate()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
