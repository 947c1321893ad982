"""A Prefect flow with one task that refreshes the Omni models."""

from prefect import flow, get_run_logger, task
from prefect.runtime import flow_run

from orchestrator import run


@task(retries=2, retry_delay_seconds=60)
async def refresh(manifest: str, select: list[str], key: str, *, simulate: bool) -> str:
    """Refresh the models and return the run's id. A retry of the task continues the run: it sends nothing twice."""
    logger = get_run_logger()
    report = await run(manifest, select=select, simulate=simulate, key=key)
    for outcome in report.outcomes:
        logger.info("%s: %s", outcome.name, outcome.status.value)
    if report.exit_code:
        raise RuntimeError(f"{sum(not o.status.is_good for o in report.outcomes)} models did not succeed")
    return report.run.id


@flow(name="omni-refresh")
async def refresh_models(
    manifest: str = "nightly.yaml", select: list[str] | None = None, *, simulate: bool = False
) -> str:
    """Refresh the models of a manifest."""
    return await refresh(manifest, select or ["tag:nightly"], f"prefect/{flow_run.get_id()}", simulate=simulate)
