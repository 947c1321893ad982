"""A Dagster asset: the Omni models, refreshed after the tables that they read."""

import dagster as dg

from orchestrator import Status, run


class RefreshConfig(dg.Config):
    """What a launch may change."""

    manifest: str = "nightly.yaml"
    select: list[str] = ["tag:nightly"]
    simulate: bool = False


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=60))
async def omni_models(context: dg.AssetExecutionContext, config: RefreshConfig) -> dg.MaterializeResult:
    """Refresh the models. A retry of the step continues the run: it sends nothing twice."""
    report = await run(
        config.manifest,
        select=config.select,
        simulate=config.simulate,
        key=f"dagster/{context.run_id}/omni_models",
        on_event=lambda event: context.log.debug(str(event)),
    )
    counts = {s.value: sum(o.status is s for o in report.outcomes) for s in Status}
    metadata = {"run": report.run.id, **{status: count for status, count in counts.items() if count}}
    bad = [o.name for o in report.outcomes if not o.status.is_good]
    if report.exit_code:
        raise dg.Failure(f"did not succeed: {', '.join(bad)}", metadata=metadata)
    return dg.MaterializeResult(metadata=metadata)
