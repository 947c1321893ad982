"""Refresh each instance in a task of its own, so that one that is down does not delay the others."""

from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from orchestrator.airflow import OmniRefreshOperator

with DAG(
    "omni_per_instance",
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["omni"],
):
    # one task per instance, not per model: models of an instance share one budget and one look-up
    OmniRefreshOperator.partial(
        task_id="refresh",
        manifest=str(Path(__file__).with_name("instances.yaml")),
        deadline="3h",
        retries=2,
        retry_delay=timedelta(minutes=10),
    ).expand(select=["instance:emea", "instance:apac"])
