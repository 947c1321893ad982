"""The connection type `omni`: an instance's address and key as the variables that a manifest may name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from orchestrator.airflow.connection import connection_variables, whoami
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
        connection = self.get_connection(self.omni_conn_id)
        variables = connection_variables(
            host=connection.host, port=connection.port, key=connection.password, extra=connection.extra_dejson
        )
        for name, value in variables.items():
            if name != "OMNI_BASE_URL":
                mask_secret(value)
        return {**os.environ, **variables}

    def test_connection(self) -> tuple[bool, str]:
        """Return the user that the key belongs to: one call within the key's budget."""
        try:
            return True, asyncio.run(whoami(self.environ()))
        except OmniRefreshError as error:
            return False, str(error)
