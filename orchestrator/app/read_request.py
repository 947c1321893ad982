"""Reads what a request names: the targets that it selects, and the change that the run follows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from orchestrator.app.context import Context
from orchestrator.app.overrides import check_modes, override
from orchestrator.app.requests import ChangeRequest, RunRequest
from orchestrator.changes.change_set import ChangeSet
from orchestrator.changes.dbt import read_dbt
from orchestrator.changes.files import read_ddl, read_names
from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.planning.followed_change import FollowedChange, change_as_data, make_followed_change
from orchestrator.planning.selection import Selector

NO_DIALECT = "no --dialect is given: the migrations were read as PostgreSQL's; letters' case and quotes may mean other names elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """What a request to run or to plan means: the manifest with its overrides, its selected targets, the change to follow."""

    manifest: Manifest
    followed: FollowedChange | None
    selector: Selector
    selected: tuple[Entry, ...]


def read_request(request: RunRequest, context: Context) -> ReadRequest:
    """Read a request and hide the secrets of its manifest. Raises `UsageError` for whatever is wrong with it."""
    manifest = override(request.manifest, request.overrides)
    context.hide_secrets(manifest)
    followed = read_change(request.change, context)
    selector = Selector(manifest, request.select, request.exclude)
    selected = selector.select(allow_empty=request.allow_empty)
    check_modes(selected)
    return ReadRequest(manifest=manifest, followed=followed, selector=selector, selected=selected)


def read_change(request: ChangeRequest, context: Context) -> FollowedChange | None:
    """Return the change that a request names; None if it names none.

    Raises `UsageError` for what cannot be read.
    """
    if not (request.ddl or request.ddl_list or request.dbt_target is not None or request.changed):
        return None
    sources = {"--ddl": request.ddl, "--ddl-list": request.ddl_list, "--changed": request.changed}
    readers = [flag for flag, names in sources.items() if "-" in names]
    if len(readers) > 1:
        raise UsageError(
            f"{' - and '.join(readers)} - both read standard input",
            code="option-conflict",
            hint="it can be read only once: name a file for one of them",
        )
    migrated = built = listed = ChangeSet()
    if request.ddl or request.ddl_list:
        migrated = read_ddl(
            request.ddl,
            lists=request.ddl_list,
            values=request.values,
            dialect=request.dialect or "postgres",
            default_schema=request.default_schema,
            stdin=context.read_stdin,
            strict=request.strict,
        )
        if request.dialect is None:
            migrated = replace(migrated, warnings=(NO_DIALECT, *migrated.warnings))
    if request.dbt_target is not None:
        built = read_dbt(request.dbt_target, state_dir=request.dbt_state)
    if request.changed:
        listed = read_names(request.changed, stdin=context.read_stdin)
    return make_followed_change(ddl=migrated, dbt=built, listed=listed)


def fingerprint(followed: FollowedChange) -> str:
    """Return a text that is the same for the same change."""
    return hashlib.sha256(json.dumps(change_as_data(followed)).encode()).hexdigest()
