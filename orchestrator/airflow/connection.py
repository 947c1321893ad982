"""An Airflow connection of type `omni`, as the variables of a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
                code="invalid-usage",
            )
        variables[name] = value
    if host:
        address = host if "://" in host else f"https://{host}"
        variables[BASE_URL] = address if port is None else f"{address}:{port}"
    if key:
        variables[API_KEY] = key
    return variables


async def whoami(environ: Mapping[str, str]) -> str:
    """Return, in words, the user that the key of these variables belongs to. Raises `OmniRefreshError`."""
    from orchestrator.api import load_manifest
    from orchestrator.app.check import check_key
    from orchestrator.app.context import Context
    from orchestrator.log.redaction import Redactor

    manifest = load_manifest("connection", text="models: [{model: any}]", environ=environ)
    (instance,) = manifest.instances
    context = Context(observe=lambda _: None, environ=environ, redactor=Redactor(()))
    who = await check_key(manifest, instance, context)
    return f"the key is valid ({who.key_scope or 'unknown scope'}, {who.org_role or 'no organization role'})"
