"""Refresh every model tagged `nightly`; while the jobs run, the task occupies no worker."""

from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from orchestrator.airflow import OmniRefreshOperator

with DAG(
    "omni_deferrable",
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
        state_conn_id="omni_state",
        # the worker submits, the triggerer follows the jobs
        deferrable=True,
        retries=2,
        retry_delay=timedelta(minutes=10),
    )
