"""Runs a manifest as a task of Apache Airflow: `from orchestrator.airflow import OmniRefreshOperator` (extra `airflow`).

Importing this package imports nothing: Airflow reads the provider's metadata each time it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.airflow.operator import OmniRefreshOperator

__all__ = ["OmniRefreshOperator"]


def __getattr__(name: str) -> object:
    """Import the operator when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from orchestrator.airflow.operator import OmniRefreshOperator

    return OmniRefreshOperator
