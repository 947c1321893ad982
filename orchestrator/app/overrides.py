"""Changes of a manifest for one run, and manifests made from a command line."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from orchestrator.durations import render_duration
from orchestrator.errors import UsageError
from orchestrator.manifest.addresses import normalize_base_url
from orchestrator.manifest.load import make_manifest
from orchestrator.manifest.manifest import Entry, Instance, Manifest, Mode, RefreshKind
from orchestrator.text import some

ONE_OFF: Final = "--model "
"""The start of the path of a manifest that was made from a command line: its path is those options."""

_MOST_WORKERS: Final = 1000
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a run does differently from its manifest; None: as the manifest says.

    `mode` is `hard` or `soft` for every model, `timeout_s` the time that each job may take, `workers` how many calls are
    sent at once, `base_url` the address of the only instance.
    """

    mode: str | None = None
    timeout_s: float | None = None
    workers: int | None = None
    base_url: str | None = None

    def as_options(self) -> tuple[str, ...]:
        """Return the command line's options that say the same."""
        given = (
            ("--mode", self.mode),
            ("--timeout", None if self.timeout_s is None else render_duration(self.timeout_s)),
            ("--workers", None if self.workers is None else str(self.workers)),
            ("--base-url", self.base_url),
        )
        return tuple(word for name, value in given if value is not None for word in (name, value))


NO_OVERRIDES: Final = Overrides()


def override(manifest: Manifest, overrides: Overrides) -> Manifest:
    """Return the manifest with the overrides applied. Raises `UsageError` for one that does not fit it."""
    if overrides == NO_OVERRIDES:
        return manifest
    if overrides.workers is not None and not 1 <= overrides.workers <= _MOST_WORKERS:
        raise UsageError(
            f"workers is a number from 1 to {_MOST_WORKERS}, not {overrides.workers}", code="invalid-number"
        )
    if overrides.timeout_s is not None and overrides.timeout_s <= 0:
        raise UsageError("timeout must be longer than 0 s", code="invalid-duration")
    return replace(
        manifest,
        instances=_instances(manifest, overrides.base_url),
        entries=tuple(_entry(entry, overrides) for entry in manifest.entries),
        workers=manifest.workers if overrides.workers is None else overrides.workers,
    )


def check_modes(entries: Sequence[Entry]) -> None:
    """Raise `UsageError` if a model with scopes would get a hard refresh, which takes none."""
    wrong = [
        f"{entry.name} (line {entry.place.line})" for entry in entries if entry.mode is Mode.HARD and _has_scope(entry)
    ]
    if wrong:
        names = some(wrong)
        raise UsageError(
            f"--mode hard: a hard refresh takes no schemas or tables, and these models have some: {names}. Nothing was sent",
            code="hard-with-scope",
            hint="leave them out with --exclude, or use --mode soft",
        )


def one_off_manifest(
    models: Sequence[str],
    *,
    schemas: Sequence[str] = (),
    tables: Sequence[str] = (),
    branch: str | None = None,
    mode: str | None = None,
    environ: Mapping[str, str],
    base_url: str | None = None,
    with_keys: bool = True,
) -> Manifest:
    """Return a manifest of these models, by name or id, on the instance of OMNI_BASE_URL (or `base_url`) and OMNI_API_TOKEN.

    Its path is the options that it stands for. Raises `ManifestError`.
    """
    given = {"schemas": list(schemas) or None, "tables": list(tables) or None, "branch": branch, "mode": mode}
    shared = {key: value for key, value in given.items() if value is not None}
    entries = [{"id" if _ID.fullmatch(model) else "model": model, **shared} for model in models]
    words = [
        *(word for model in models for word in ("--model", model)),
        *(word for schema in schemas for word in ("--schema", schema)),
        *(word for table in tables for word in ("--table", table)),
        *(() if branch is None else ("--branch", branch)),
        *(() if mode is None else ("--mode", mode)),
    ]
    variables = {**environ, **({} if base_url is None else {"OMNI_BASE_URL": base_url})}
    # a dollar begins a variable in a manifest, and is itself on a command line
    text = json.dumps({"models": entries}, ensure_ascii=False).replace("$", "$$")
    return make_manifest(text, path=shlex.join(words), environ=variables, with_keys=with_keys)


def _instances(manifest: Manifest, base_url: str | None) -> dict[str, Instance]:
    if base_url is None:
        return manifest.instances
    if len(manifest.instances) != 1:
        names = ", ".join(list(manifest.instances)[:20])
        raise UsageError(
            f"--base-url: {manifest.path} has several instances ({names}): which one is meant is not clear",
            code="missing-instance",
        )
    try:
        address = normalize_base_url(base_url)
    except ValueError as error:
        raise UsageError(f"--base-url {error}", code="invalid-address") from None
    return {
        name: replace(instance, base_url=address, base_url_place="--base-url")
        for name, instance in manifest.instances.items()
    }


def _entry(entry: Entry, overrides: Overrides) -> Entry:
    if overrides.mode is not None and entry.refresh is not RefreshKind.DBT_SYNC:
        entry = replace(entry, mode=Mode(overrides.mode), mode_pinned=True)
    return entry if overrides.timeout_s is None else replace(entry, timeout_s=overrides.timeout_s)


def _has_scope(entry: Entry) -> bool:
    return bool(entry.schemas or entry.tables)
