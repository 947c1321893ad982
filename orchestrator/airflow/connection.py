"""Airflow connections as this program reads them: of type `omni` as variables of a manifest, of type `postgres` as a state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from orchestrator.errors import UsageError

BASE_URL = "OMNI_BASE_URL"
API_KEY = "OMNI_API_TOKEN"


def connection_variables(
    *, host: str | None, port: int | None, key: str | None, extra: Mapping[str, Any]
) -> dict[str, str]:
    """Return the variables that a connection sets: its address, its key, and each text in `extra` by its name.

    A host without a scheme is taken as https. Raises `UsageError` for an `extra` whose values are no texts.
    """
    variables: dict[str, str] = {}
    for name, value in extra.items():
        if not isinstance(value, str):
            raise UsageError(
                f"the connection's extra {name!r} is no text: extra holds variables of the manifest",
                code="wrong-type",
            )
        variables[name] = value
    if host:
        address = host if "://" in host else f"https://{host}"
        variables[BASE_URL] = address if port is None else f"{address}:{port}"
    if key:
        variables[API_KEY] = key
    return variables


def state_url(
    *,
    conn_type: str | None,
    host: str | None,
    port: int | None,
    user: str | None,
    password: str | None,
    database: str | None,
    extra: Mapping[str, Any],
) -> str:
    """Return the address of a shared state. `extra` are options of libpq, such as `sslmode`.

    Raises `UsageError` for a connection of another type. What libpq does not know is refused when the state is opened.
    """
    if conn_type not in ("postgres", "postgresql"):
        raise UsageError(
            f"the connection of the state is of type {conn_type!r}: shared state needs one of type 'postgres'",
            code="invalid-state",
        )
    parts = {"host": host, "port": port, "user": user, "password": password, "dbname": database, **extra}
    # as parameters, so that lists of hosts, socket folders and any character of a password need no rules of their own
    return "postgresql:///?" + urlencode({k: str(v) for k, v in parts.items() if v not in (None, "")}, quote_via=quote)


async def whoami(environ: Mapping[str, str]) -> str:
    """Return a text about the user that the key of these variables belongs to. Raises `OmniRefreshError`."""
    from orchestrator.api import load_manifest
    from orchestrator.app.check import check_key
    from orchestrator.app.context import make_context

    manifest = load_manifest("connection", text="models: [{model: any}]", environ=environ)
    (instance,) = manifest.instances
    who = await check_key(manifest, instance, make_context(environ))
    return f"the key is valid ({who.key_scope or 'unknown scope'}, {who.org_role or 'no organization role'})"
