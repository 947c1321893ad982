"""Commands in this process, with their real streams, and manifests for them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from orchestrator.cli.main import main, run
from tests.rehearsal import uuid

KEY = "omni_osk_CANARY+7f3a/9d=="

# fast enough for real time: a simulated instance's clock may run as fast as the manifest says
QUICK = {
    "instances": {
        "sim": {
            "base_url": "http://127.0.0.1:1",
            "api_keys": ["${OMNI_API_TOKEN}"],
            "rate_limit": {"requests": 100, "per": "1s"},
        }
    },
    "defaults": {"poll": {"min": "20ms", "max": "200ms"}, "timeout": "20s"},
}


SHORT_JOBS: dict[str, Any] = {"limit": {"requests": 100, "per": 1}, "default_model": {"duration": 0.05}}
"""A scenario that fits it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left: its exit code and what stood on its streams."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The only JSON document on stdout."""
        return json.loads(self.out)


def write_manifest(folder: Path, *models: Mapping[str, object], name: str = "m.yaml", **top: object) -> str:
    """A manifest's path, with a scenario of short jobs beside it; without models it has three on their own connections."""
    write_scenario(folder, name=str(Path(name).with_suffix(".scenario.yaml")))
    chosen = list(models) or [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}"} for n in (1, 2, 3)]
    path = folder / name
    path.write_text(json.dumps({**QUICK, **top, "models": chosen}), encoding="utf-8")
    return str(path)


def write_scenario(folder: Path, name: str = "s.yaml", **sections: object) -> str:
    """A scenario's path."""
    path = folder / name
    path.write_text(json.dumps({**SHORT_JOBS, **sections}), encoding="utf-8")
    return str(path)


def call(capfd: Any, *args: str) -> Done:
    """Run a command here; its streams are those of this process."""
    capfd.readouterr()
    code = run(args)
    out, err = capfd.readouterr()
    return Done(code=code, out=out, err=err)


def call_on(*args: str, stdout: int, stderr: int, encoding: str = "utf-8") -> object:
    """Run the whole program here, with these file descriptors as its streams, and return its exit code."""
    with ExitStack() as undo:
        for number, name, given in ((1, "stdout", stdout), (2, "stderr", stderr)):
            getattr(sys, name).flush()
            kept = os.dup(number)
            undo.callback(os.close, kept)
            undo.callback(os.dup2, kept, number)
            os.dup2(given, number)
            stream = undo.enter_context(open(number, "w", encoding=encoding, closefd=False))
            undo.enter_context(patch.object(sys, name, stream))
        with pytest.raises(SystemExit) as ended:
            main(args)
    return ended.value.code


def start(*args: str, cwd: Path, environ: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start the program as people do, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environ or {})},
        **options,
    )


def spawn(args: Sequence[str], *, cwd: Path, environ: Mapping[str, str] | None = None) -> Done:
    """Run the program in a process of its own, to its end."""
    with start(*args, cwd=cwd, environ=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    return Done(code=process.returncode, out=out.decode(), err=err.decode())
