"""What shells suggest for an option's value: targets of the manifest, runs of the state folder, dialects, files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

from orchestrator.errors import OmniRefreshError

if TYPE_CHECKING:
    from orchestrator.manifest.manifest import Manifest

DIALECTS: Final = ("snowflake", "postgres", "bigquery", "redshift", "databricks", "mysql", "tsql", "duckdb")

_MOST_RUNS: Final = 20


def suggest_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return what makes the shell suggest files."""
    del ctx, param
    return [CompletionItem(incomplete, type="file")]


def suggest_selectors(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return selectors of the manifest that the command line names; after a comma, for the next part."""
    del param
    before, comma, part = incomplete.rpartition(",")
    manifest = _manifest(ctx.params.get("manifest"))
    words = () if manifest is None else dict.fromkeys(_selectors(manifest, part))
    return [CompletionItem(f"{before}{comma}{word}") for word in words if word.startswith(part)]


def suggest_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return the ids of the latest runs, and files: a manifest may stand there as well."""
    runs = [CompletionItem(run) for run in _run_ids() if run.startswith(incomplete)]
    return [*runs, *suggest_files(ctx, param, incomplete)]


def suggest_dialects(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return the SQL dialects."""
    del ctx, param
    return [CompletionItem(name) for name in DIALECTS if name.startswith(incomplete)]


def _selectors(manifest: Manifest, part: str) -> Iterator[str]:
    yield from (entry.name for entry in manifest.entries if "," not in entry.name)
    groups: tuple[tuple[str, Iterable[str | None]], ...] = (
        ("tag", (tag for entry in manifest.entries for tag in entry.tags)),
        ("instance", manifest.instances),
        ("connection", (entry.connection for entry in manifest.entries)),
        ("branch", (entry.branch for entry in manifest.entries)),
    )
    for prefix, values in groups:
        found = sorted({value for value in values if value})
        if found and part.startswith(f"{prefix}:"):
            yield from (f"{prefix}:{value}" for value in found)
        elif found:
            yield f"{prefix}:"


def _manifest(path: str | None) -> Manifest | None:
    from orchestrator.manifest.load import load_manifest

    try:
        return None if path is None else load_manifest(path, environ=os.environ, with_keys=False)
    except OmniRefreshError:
        return None


def _run_ids() -> list[str]:
    from orchestrator.app.history import make_history
    from orchestrator.app.state import find_folder, open_state
    from orchestrator.cli.command_setup import quiet_context

    context = quiet_context()
    try:
        folder = find_folder(context)
        if folder is not None and not folder.is_dir():
            # a suggestion makes no folder
            return []
        with open_state(context) as state:
            return [str(run["id"]) for run in make_history(state, model=None, limit=_MOST_RUNS)["runs"]]
    except OmniRefreshError:
        return []
