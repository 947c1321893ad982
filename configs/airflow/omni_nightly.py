"""Refresh every model tagged `nightly`, each night at 02:15."""

from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, AssetAlias

from orchestrator.airflow import OmniRefreshOperator

with DAG(
    "omni_nightly",
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["omni"],
):
    OmniRefreshOperator(
        task_id="refresh",
        manifest=str(Path(__file__).with_name("nightly.yaml")),
        select="tag:nightly",
        deadline="3h",
        outlets=[AssetAlias("omni-refresh")],
        # a retry continues the run: nothing is refreshed twice
        retries=2,
        retry_delay=timedelta(minutes=10),
    )
