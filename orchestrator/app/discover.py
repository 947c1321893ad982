"""Reads what an instance has, and compares it with a manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.app.context import Context
from orchestrator.app.instances import open_survey
from orchestrator.errors import UsageError
from orchestrator.manifest.diagnostics import ManifestError
from orchestrator.manifest.load import make_manifest
from orchestrator.manifest.manifest import Instance, Manifest
from orchestrator.survey.manifest_text import render_manifest
from orchestrator.survey.model_listing import Difference, ModelFilter, ModelListing, find_difference, list_models

# the smallest manifest that takes its instance from the environment
_ENVIRONMENT = "the environment"
_BARE = 'models: [{id: "00000000-0000-4000-8000-000000000000"}]'


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What an instance has, and how a manifest differs from it (None if it was not compared).

    `redact` takes secrets out of texts.
    """

    instance: Instance
    listing: ModelListing
    difference: Difference | None
    at: datetime
    redact: Callable[[str], str] = field(repr=False)

    def to_yaml(self) -> str:
        """Return a manifest of the models, which may be saved in any folder. There is at least one model."""
        return self.redact(render_manifest(self.listing, self.instance.with_absolute_files(), at=self.at))


def environment_manifest(context: Context, base_url: str | None = None) -> Manifest:
    """Return a manifest whose only instance is that of OMNI_BASE_URL (or `base_url`) and OMNI_API_TOKEN.

    Raises `UsageError` if the variables are missing.
    """
    environ = {**context.environ, **({} if base_url is None else {"OMNI_BASE_URL": base_url})}
    try:
        return make_manifest(_BARE, path=_ENVIRONMENT, environ=environ)
    except ManifestError as error:
        words = "; ".join(
            found.message.removeprefix("the manifest has no `instances`, and ") for found in error.diagnostics
        )
        hint = f"{error.diagnostics[0].hint}; or use an instance of a manifest: --like MANIFEST"
        raise UsageError(words, code=error.code, hint=hint) from None


def pick_instance(manifest: Manifest, name: str | None) -> Instance:
    """Return the instance of this name, or the only one. Raises `UsageError` that lists them."""
    names = list(manifest.instances)
    if name is None and len(names) > 1:
        raise UsageError(
            f"{manifest.path} has several instances",
            code="missing-instance",
            hint=f"name one with --instance: {', '.join(names[:20])}",
        )
    if name is not None and name not in names:
        raise UsageError(
            f"{manifest.path} has no instance {name!r}",
            code="unknown-instance",
            hint=f"the instances are: {', '.join(names[:20])}",
        )
    return manifest.instances[name or names[0]]


async def discover(
    manifest: Manifest,
    wanted: ModelFilter,
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
    async with open_survey(context, manifest, state) as survey:
        listing = await list_models(survey, own.name, wanted)
        difference = await find_difference(survey, manifest, own.name, listing) if compare else None
    named = replace(own, name="omni") if manifest.path == _ENVIRONMENT else own
    return Discovery(
        instance=named,
        listing=listing,
        difference=difference,
        at=context.clock.utcnow(),
        redact=context.redactor.redact,
    )
