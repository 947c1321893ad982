"""Reads Airflow's connections: of type `omni` for an instance's address and key, of type `postgres` for a shared state."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from orchestrator.airflow.connection import connection_variables, state_url, whoami
from orchestrator.errors import OmniRefreshError


class OmniHook(BaseHook):
    """Reads a connection of type `omni`: host is the base URL, password the API key, extra further variables."""

    conn_name_attr = "omni_conn_id"
    default_conn_name = "omni_default"
    conn_type = "omni"
    hook_name = "Omni"

    def __init__(self, omni_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.omni_conn_id = omni_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's fields for versions of Airflow that do not read them from the provider's metadata."""
        from orchestrator.airflow.provider_info import get_provider_info

        behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
        return {key.replace("-", "_"): value for key, value in behaviour.items()}

    def environ(self) -> Mapping[str, str]:
        """Return the environment's variables and those of the connection, whose values are masked in all logs."""
        return _variables(self.get_connection(self.omni_conn_id))

    @classmethod
    async def aenviron(cls, omni_conn_id: str | None) -> Mapping[str, str]:
        """Return the same within an event loop; the environment's variables alone if no connection is named."""
        return os.environ if omni_conn_id is None else _variables(await cls.aget_connection(omni_conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """Return the user that the key belongs to: one call within the key's budget."""
        try:
            return True, asyncio.run(whoami(self.environ()))
        except OmniRefreshError as error:
            return False, str(error)


class StateHook(BaseHook):
    """Reads a connection of Airflow's type `postgres` as the address of a shared state."""

    @classmethod
    def url(cls, state_conn_id: str) -> str:
        """Return the address, whose password is masked in all logs. Raises `UsageError` for another type."""
        return _url(cls.get_connection(state_conn_id))

    @classmethod
    async def aurl(cls, state_conn_id: str) -> str:
        """Return the same within an event loop."""
        return _url(await cls.aget_connection(state_conn_id))


def _variables(connection: Any) -> Mapping[str, str]:
    variables = connection_variables(
        host=connection.host, port=connection.port, key=connection.password, extra=connection.extra_dejson
    )
    for name, value in variables.items():
        if name != "OMNI_BASE_URL":
            mask_secret(value)
    return {**os.environ, **variables}


def _url(connection: Any) -> str:
    if connection.password:
        mask_secret(connection.password)
        mask_secret(quote(connection.password, safe=""))
    return state_url(
        conn_type=connection.conn_type,
        host=connection.host,
        port=connection.port,
        user=connection.login,
        password=connection.password,
        database=connection.schema,
        extra=connection.extra_dejson,
    )
