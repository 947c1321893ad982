"""Reads what an instance has, and compares it with a manifest."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.app.context import Context
from orchestrator.app.instances import make_access, state_for_reading
from orchestrator.errors import UsageError
from orchestrator.manifest.diagnostics import ManifestError
from orchestrator.manifest.load import make_manifest
from orchestrator.manifest.manifest import Instance, Manifest
from orchestrator.survey.model_listing import Difference, Stock, Wanted, find_difference, take_stock
from orchestrator.survey.survey import Survey

# the smallest manifest that takes its instance from the environment
_BARE = 'models: [{id: "00000000-0000-4000-8000-000000000000"}]'


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What an instance has, and how a manifest differs from it (None if it was not compared)."""

    instance: Instance
    stock: Stock
    difference: Difference | None


def environment_manifest(context: Context, base_url: str | None = None) -> Manifest:
    """Return a manifest whose only instance is that of OMNI_BASE_URL (or `base_url`) and OMNI_API_TOKEN.

    Raises `UsageError` if the variables are missing.
    """
    environ = {**context.environ, **({} if base_url is None else {"OMNI_BASE_URL": base_url})}
    try:
        return make_manifest(_BARE, path="the environment", environ=environ)
    except ManifestError as error:
        words = "; ".join(fault.message.removeprefix("there are no `instances` here, and ") for fault in error.faults)
        raise UsageError(f"{words}. Or take the instance of a manifest: --like MANIFEST") from None


def pick_instance(manifest: Manifest, name: str | None) -> Instance:
    """Return the instance of this name, or the only one. Raises `UsageError` that lists them."""
    names = list(manifest.instances)
    if name is None and len(names) > 1:
        raise UsageError(f"{manifest.path} has several instances: say which with --instance ({', '.join(names[:20])})")
    if name is not None and name not in names:
        raise UsageError(f"{manifest.path} has no instance {name!r}; there is: {', '.join(names[:20])}")
    return manifest.instances[name or names[0]]


async def discover(
    manifest: Manifest,
    wanted: Wanted,
    context: Context,
    *,
    instance: str | None = None,
    compare: bool = False,
    state: str | None = None,
) -> Discovery:
    """Return the models that an instance of `manifest` has; with `compare` also how the manifest differs from them.

    Raises `CannotTell` if the instance does not say, `UsageError` for an instance that does not exist.
    """
    own = pick_instance(manifest, instance)
    for secret in manifest.secrets:
        context.redactor.add(secret)
    with state_for_reading(context, state) as opened:
        access = make_access(context, manifest.instances, opened)
        async with Survey(manifest.instances, access) as survey:
            stock = await take_stock(survey, own.name, wanted)
            difference = await find_difference(survey, manifest, own.name, stock) if compare else None
    return Discovery(instance=own, stock=stock, difference=difference)
