"""What an import costs: a command does not wait for libraries that it does not use."""

import os
import subprocess
import sys

from tests.house.tree import ROOT

HEAVY = {
    "aiohttp",
    "apprise",
    "asyncio",
    "jinja2",
    "pydantic",
    "rich",
    "sqlite3",
    "ssl",
    "structlog",
    "yaml",
}
"""For the command line asyncio is no weight: it will be needed; for the bare package it is."""


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    # A measured interpreter would hold what the measuring needs (sqlite3, for one).
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_the_package_is_light() -> None:
    """`import orchestrator` loads no library, and not even asyncio."""
    assert not _loaded_by("import orchestrator") & HEAVY


def test_the_command_line_is_light() -> None:
    """`omni-refresh --help` loads click and nothing that talks to servers, files or terminals."""
    assert not _loaded_by("import orchestrator.cli.main") & (HEAVY - {"asyncio"})
