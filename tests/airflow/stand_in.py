"""A small stand-in for the parts of Airflow that the operator uses, so that its tests need no Airflow."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType
from typing import Any, NoReturn


class AirflowException(Exception):
    """As Airflow's: the task fails, and may be retried."""


class AirflowFailException(AirflowException):
    """As Airflow's: the task fails, and is not retried."""


class AirflowSkipException(AirflowException):
    """As Airflow's: the task is skipped."""


class TaskDeferred(BaseException):
    """As Airflow's: the task waits for its trigger."""

    def __init__(self, trigger: Any, method_name: str, timeout: timedelta | None) -> None:
        super().__init__()
        self.trigger = trigger
        self.method_name = method_name
        self.timeout = timeout


class BaseTrigger:
    """As Airflow's: what every trigger has."""

    def __init__(self) -> None:
        self.log = logging.getLogger("airflow.trigger")


@dataclass(frozen=True)
class TriggerEvent:
    """As Airflow's: what a trigger tells its task."""

    payload: Any


@dataclass(frozen=True)
class Asset:
    """As Airflow's: an asset by its URI."""

    uri: str


@dataclass(frozen=True)
class AssetAlias:
    """As Airflow's: a name under which assets are found at run time."""

    name: str


class BaseOperator:
    """As Airflow's: keeps what every task has."""

    def __init__(
        self,
        *,
        task_id: str,
        retries: int = 0,
        outlets: Any = (),
        execution_timeout: timedelta | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(f"invalid arguments: {', '.join(unknown)}")
        self.task_id = task_id
        self.retries = retries
        self.outlets = list(outlets)
        self.execution_timeout = execution_timeout
        self.log = logging.getLogger("airflow.task")

    def defer(self, *, trigger: Any, method_name: str, timeout: timedelta | None = None) -> NoReturn:
        """Leave the task to a trigger."""
        raise TaskDeferred(trigger, method_name, timeout)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """As Airflow's: what a connection holds."""

    conn_type: str = "omni"
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = None
    schema: str | None = None
    extra: str = "{}"

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The extra as JSON."""
        found: dict[str, Any] = json.loads(self.extra)
        return found


CONNECTIONS: dict[str, Connection] = {}
MASKED: list[str] = []


class BaseHook:
    """As Airflow's: finds connections."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """The connection of that name."""
        return CONNECTIONS[conn_id]

    @classmethod
    async def aget_connection(cls, conn_id: str) -> Connection:
        """The same in an event loop."""
        return CONNECTIONS[conn_id]


class OutletEvents:
    """As Airflow's: collects what was added for an alias."""

    def __init__(self) -> None:
        self.added: list[tuple[str, dict[str, Any]]] = []

    def add(self, asset: Asset, extra: dict[str, Any]) -> None:
        """Add an event."""
        self.added.append((asset.uri, extra))


@dataclass(kw_only=True)
class TaskInstance:
    """As Airflow's: one try of a task."""

    dag_id: str = "omni"
    run_id: str = "scheduled__2026-11-30"
    task_id: str = "refresh"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 2
    xcom: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, *, key: str, value: Any) -> None:
        """Keep a value; it must be JSON."""
        self.xcom[key] = json.loads(json.dumps(value))


def make_context(task: TaskInstance) -> dict[str, Any]:
    """The context that Airflow gives to `execute`."""
    return {"ti": task, "outlet_events": defaultdict(OutletEvents)}


@contextmanager
def stand_in() -> Iterator[Any]:
    """Within the block `airflow.sdk` is the stand-in; yields the operator's module, imported on it."""
    names = (
        "airflow",
        "airflow.sdk",
        "airflow.sdk.log",
        "airflow.sdk.exceptions",
        "airflow.triggers",
        "airflow.triggers.base",
    )
    package, sdk, log, exceptions, triggers, base = map(ModuleType, names)
    vars(sdk).update(Asset=Asset, AssetAlias=AssetAlias, BaseOperator=BaseOperator, BaseHook=BaseHook)
    vars(log).update(mask_secret=MASKED.append)
    vars(base).update(BaseTrigger=BaseTrigger, TriggerEvent=TriggerEvent)
    vars(exceptions).update(
        AirflowException=AirflowException,
        AirflowFailException=AirflowFailException,
        AirflowSkipException=AirflowSkipException,
    )
    modules = {module.__name__: module for module in (package, sdk, log, exceptions, triggers, base)}
    on_top = tuple(f"orchestrator.airflow.{name}" for name in ("operator", "hook", "trigger"))
    CONNECTIONS.clear()
    MASKED.clear()
    sys.modules.update(modules)
    try:
        yield importlib.import_module("orchestrator.airflow.operator")
    finally:
        for name in (*modules, *on_top):
            sys.modules.pop(name, None)
