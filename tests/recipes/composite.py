"""A composite action and a workflow's steps, run here as a runner runs them: expressions, environment, outputs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.house.tree import ROOT

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
_EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")


@dataclass(kw_only=True)
class Ran:
    """How the steps ended: the exit code, what they printed, the summary, and the action's outputs."""

    code: int
    printed: str
    summary: str
    outputs: dict[str, str] = field(default_factory=dict)


def evaluate(text: object, values: Mapping[str, str]) -> str:
    """The text with each `${{ name }}` replaced; a name that is unknown is empty, as on a runner."""
    return _EXPRESSION.sub(lambda match: values.get(match[1], ""), str(text))


def read_outputs(path: Path) -> dict[str, str]:
    """What a step wrote to GITHUB_OUTPUT: `name=value` lines."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def run_action(
    folder: Path,
    cwd: Path,
    *,
    given: Mapping[str, str],
    environ: Mapping[str, str] | None = None,
    runner: str = "Linux",
    action_path: Path = ROOT,
) -> Ran:
    """Run the action's steps with these inputs and the environment of the step that uses it. `folder` is the runner's."""
    assert set(given) <= set(ACTION["inputs"])
    inputs = {name: given.get(name, each["default"]) for name, each in ACTION["inputs"].items()}
    values = {f"inputs.{name}": value for name, value in inputs.items()} | {"github.action_path": str(action_path)}
    summary, printed = folder / "summary.md", ""
    summary.touch()
    for number, step in enumerate(ACTION["runs"]["steps"]):
        written = folder / f"outputs-{number}"
        written.touch()
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=cwd,
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME", "PYTHONASYNCIODEBUG") if name in os.environ},
                "RUNNER_OS": runner,
                "RUNNER_TEMP": str(folder),
                "GITHUB_ACTIONS": "true",
                "GITHUB_OUTPUT": str(written),
                "GITHUB_STEP_SUMMARY": str(summary),
                **(environ or {}),
                **{name: evaluate(text, values) for name, text in step.get("env", {}).items()},
            },
            capture_output=True,
            text=True,
            check=False,
        )
        printed += done.stdout + done.stderr
        values |= {f"steps.{step.get('id')}.outputs.{name}": value for name, value in read_outputs(written).items()}
        if done.returncode:
            break
    outputs = {name: evaluate(each["value"], values) for name, each in ACTION["outputs"].items()}
    return Ran(code=done.returncode, printed=printed, summary=summary.read_text(encoding="utf-8"), outputs=outputs)
