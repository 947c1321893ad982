"""Refresh what a dbt build changed, as soon as the build has updated its asset."""

from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset

from orchestrator.airflow import OmniRefreshOperator

# The task that runs `dbt build` has this asset in its outlets.
DBT_BUILD = Asset("dbt-build", uri="file:///opt/dbt/target/run_results.json")

with DAG(
    "omni_after_dbt",
    schedule=[DBT_BUILD],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["omni"],
):
    OmniRefreshOperator(
        task_id="refresh",
        manifest=str(Path(__file__).with_name("after-migration.yaml")),
        dbt_target="/opt/dbt/target",
        deadline="30m",
        retries=2,
        retry_delay=timedelta(minutes=1),
    )
