"""`omni-refresh run`: the main job."""

from __future__ import annotations

import os
from typing import Any

import click

from orchestrator.cli.options import log_options, manifest_argument, run_options, selection_options


@click.command("run")
@manifest_argument
@selection_options
@run_options
@log_options
def command(
    *,
    manifest: str,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    allow_empty: bool,
    report: tuple[str, ...],
    as_json: bool,
    no_wait: bool,
    fail_fast: bool,
    max_failures: int | None,
    deadline: float | None,
    grace: float,
    rate: int | None,
    simulate: str | None,
    **log: Any,
) -> int:
    """Refresh every model of MANIFEST, follow each job to its end, and report what became of each.

    Stdout holds the summary (or with --json the report); the log goes to stderr.
    """
    from orchestrator.cli.conduct import Order, conduct
    from orchestrator.cli.console import open_console
    from orchestrator.errors import UsageError
    from orchestrator.log import Redactor
    from orchestrator.manifest.load import load_manifest
    from orchestrator.plan.selection import select as select_entries
    from orchestrator.run.settings import Settings

    redactor = Redactor(())
    console = open_console(
        log_format=log["log_format"],
        verbose=log["verbose"],
        quiet=log["quiet"],
        no_color=log["no_color"],
        redactor=redactor,
    )
    loaded = load_manifest(manifest, environ=os.environ, with_keys=simulate is None)
    for secret in loaded.secrets:
        redactor.add(secret)
    selected = select_entries(loaded, select, exclude)
    if not selected and not allow_empty:
        raise UsageError("nothing is selected; --allow-empty makes that no error")
    return conduct(
        Order(
            manifest=loaded,
            selected=selected,
            settings=Settings(
                wait=not no_wait,
                max_failures=1 if fail_fast else max_failures,
                deadline_s=deadline,
                grace_s=grace,
            ),
            reports=report,
            as_json=as_json,
            rate=rate,
            scenario=simulate,
        ),
        console=console,
        redactor=redactor,
    )
