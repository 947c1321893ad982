"""`omni-refresh run`: the main job."""

from __future__ import annotations

import os
from typing import Any

import click

from orchestrator.cli.change_options import change_options
from orchestrator.cli.options import log_options, manifest_argument, run_options, selection_options


@click.command("run")
@manifest_argument
@selection_options
@change_options
@run_options
@log_options
def command(
    *,
    manifest: str,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    allow_empty: bool,
    simulate: bool,
    scenario: str | None,
    **options: Any,
) -> int:
    """Refresh every model of MANIFEST, follow each job to its end, and report what became of each.

    With --ddl, --dbt-target or --changed only the models that the change touched, and no wider than that: softly and limited to
    what was added, or hard where anything may be gone.

    Stdout holds the summary (or with --json the report); the log goes to stderr.
    """
    from orchestrator.cli.aftermath import metrics_path
    from orchestrator.cli.choose_run import unfinished_run
    from orchestrator.cli.deliver import DEFAULT_REPORT, SIMULATED_REPORT
    from orchestrator.cli.destinations import change_files
    from orchestrator.cli.going_on import open_desk, read_changes, talk
    from orchestrator.cli.launch import launch, lock_of, report_paths, resume
    from orchestrator.cli.order import Order
    from orchestrator.cli.touched import fingerprint, read_touched
    from orchestrator.errors import UsageError
    from orchestrator.journal.values import from_data
    from orchestrator.manifest.load import load_manifest
    from orchestrator.plan.selection import select_some
    from orchestrator.report.report import Trigger
    from orchestrator.run.settings import Settings

    if simulate and options["metrics_file"]:
        raise UsageError(
            "--metrics-file (or OMNI_REFRESH_METRICS_FILE) with --simulate: a rehearsal has no metrics; leave one out"
        )
    talking = talk(options)
    touched = read_touched(options)
    loaded = load_manifest(manifest, environ=os.environ, with_keys=not simulate)
    for secret in loaded.secrets:
        talking.redactor.add(secret)
    selected = select_some(loaded, select, exclude, allow_empty=allow_empty)
    selection = (*(f"select {word}" for word in select), *(f"exclude {word}" for word in exclude))
    if touched is not None:
        # a run that was cut off follows its own change: one that follows another does not go on with it
        selection += (f"touched {fingerprint(touched)}",)
    changes = read_changes(options)
    order = Order(
        manifest=loaded,
        selected=selected,
        settings=from_data(Settings, changes.settings),
        reports=report_paths(changes.reports, default=SIMULATED_REPORT if simulate else DEFAULT_REPORT),
        named=bool(changes.reports),
        as_json=changes.as_json,
        rate=changes.rate,
        simulated=simulate,
        scenario=scenario,
        selection=selection,
        metrics=metrics_path(changes.metrics),
        trigger=Trigger.RUN if touched is None else Trigger.CHANGE,
        touched=touched,
        inputs=tuple(change_files({**options, "scenario": scenario})),
    )
    with open_desk(options, talking, simulated=simulate) as desk:
        if options["resume"]:
            unfinished = unfinished_run(desk.state, lock=lock_of(loaded, selection))
            if unfinished is not None:
                return resume(unfinished, desk, changes)
        return launch(order, desk)
