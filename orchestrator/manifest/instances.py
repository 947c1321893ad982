"""The instances: from the manifest, or the one that the environment names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from orchestrator.manifest.api_keys import KeyTextError, key_from_text
from orchestrator.manifest.credentials import note_key_files, note_secrets, read_address
from orchestrator.manifest.field_tables import NO_SETTINGS, FieldTable
from orchestrator.manifest.manifest import ApiKey, Instance, KeySource, Place, RateLimit
from orchestrator.manifest.reading import ReadContext
from orchestrator.manifest.variables import VariableError
from orchestrator.manifest.yaml_nodes import Mapping

DEFAULT_INSTANCE: Final = "default"
BASE_URL_VARIABLE: Final = "OMNI_BASE_URL"
KEY_VARIABLES: Final = ("OMNI_API_TOKEN", "OMNI_API_KEY")

_TOP: Final = Place(1, 1)
_DEFAULT_TIMEOUT_S: Final = 30.0


def hide_keys(reading: ReadContext, root: Mapping) -> None:
    """Before anything is read: what the variables under `api_keys` hold is a secret, wherever else it stands."""
    pair = root.pairs.get("instances")
    if pair is None:
        for variable in KEY_VARIABLES:
            reading.secret_variable(variable, is_key=True)
        return
    if not isinstance(pair[1], Mapping):
        return
    for _, settings in pair[1].pairs.values():
        if isinstance(settings, Mapping) and "api_keys" in settings.pairs:
            note_secrets(reading, settings.pairs["api_keys"][1], is_key=True)
        if isinstance(settings, Mapping) and "api_key_file" in settings.pairs:
            note_key_files(reading, settings.pairs["api_key_file"][1])


def make_instance(reading: ReadContext, name: str, settings: FieldTable) -> Instance | None:
    """One instance of the manifest, or None with faults."""
    if "api_keys" not in settings and "api_key_file" not in settings:
        reading.fault(
            settings.place(), f'the instance {reading.show(name)} has no key: write `api_keys: ["${{OMNI_API_TOKEN}}"]`'
        )
    base_url = settings.get("base_url", str)
    keys = [
        (key, settings.place(source))
        for source in ("api_keys", "api_key_file")
        for key in settings.get(source, tuple) or ()
    ]
    if base_url is None or not keys:
        return None
    limit = settings.get("rate_limit", FieldTable) or NO_SETTINGS
    at = settings.place("base_url")
    fallback = RateLimit()
    return Instance(
        name=name,
        base_url=base_url,
        base_url_place=f"base_url in {reading.path}:{at.line}:{at.column}",
        keys=_once(reading, keys),
        rate_limit=RateLimit(
            requests=limit.get("requests", int) or fallback.requests, per_s=limit.get("per", float) or fallback.per_s
        ),
        request_timeout_s=settings.get("request_timeout", float) or _DEFAULT_TIMEOUT_S,
        ca_file=settings.get("ca_file", Path),
    )


def environment_instance(reading: ReadContext) -> Instance | None:
    """The one instance of a manifest that names none, or None with faults.

    Where keys are not asked for, OMNI_BASE_URL may be missing too; the address is then empty.
    """
    text = reading.environ.get(BASE_URL_VARIABLE, "")
    if not text.strip() and reading.with_keys:
        reading.fault(_TOP, f"there are no `instances` here, and the variable {BASE_URL_VARIABLE} is not set: set it")
        base_url = None
    elif not text.strip():
        base_url = ""
    else:
        why = reading.misplaced("", text, is_address=True)
        if why is not None:
            reading.fault(_TOP, f"the variable {BASE_URL_VARIABLE} {why}")
            return None
        base_url = read_address(reading, text, _TOP, f"the variable {BASE_URL_VARIABLE}")
    variable = next((name for name in KEY_VARIABLES if reading.environ.get(name)), KEY_VARIABLES[0])
    source = KeySource(text=f"${{{variable}}}")
    secret = None
    if reading.with_keys:
        try:
            secret = key_from_text(f"${{{variable}}}", reading.environ)
        except (KeyTextError, VariableError) as error:
            reading.fault(_TOP, f"there are no `instances` here, and {error}")
            return None
    if base_url is None:
        return None
    return Instance(
        name=DEFAULT_INSTANCE,
        base_url=base_url,
        base_url_place=f"the variable {BASE_URL_VARIABLE}",
        keys=(ApiKey(source=source, secret=secret),),
    )


def _once(reading: ReadContext, keys: list[tuple[ApiKey, Place]]) -> tuple[ApiKey, ...]:
    """Each key once: a key that is there twice has no second quota."""
    found: dict[object, ApiKey] = {}
    for key, place in keys:
        if key.secret is not None:
            reading.secret(key.secret.reveal(), is_key=True)
        identity = key.source if key.secret is None else key.secret
        if identity in found:
            reading.faults.warn(place, "a key stands here that is given before: it is used once")
        else:
            found[identity] = key
    return tuple(found.values())
