"""Reads an instance's own OpenAPI document: what its refresh call takes, and whether it knows the dbt sync."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.omni.answers import ApiDocument
from orchestrator.omni.fields import UnreadableAnswer, as_object, as_text, objects, read_object

_REFRESH = re.compile(r"(?:/api)?(?:/v1)?/models/\{[^/{}]+\}/refresh/?")
_DBT_SYNC = re.compile(r"(?:/api)?(?:/v1)?/models/\{[^/{}]+\}/dbt-sync/?")
_COMPONENTS = "#/components/parameters/"


def read_api_document(body: bytes) -> ApiDocument:
    """Return what the document says of the calls that start a job. Raises UnreadableAnswer if it does not know the refresh."""
    document = read_object(body)
    paths = as_object(document.get("paths"))
    refreshes = [as_object(item) for path, item in paths.items() if _REFRESH.fullmatch(path)]
    posts = [item for item in refreshes if isinstance(item.get("post"), dict)]
    if not posts:
        raise UnreadableAnswer("the document does not describe the refresh call")
    return ApiDocument(
        refresh_parameters=tuple(sorted(set(_query_parameters(document, posts[0])))),
        knows_dbt_sync=any(
            isinstance(as_object(item).get("post"), dict) for path, item in paths.items() if _DBT_SYNC.fullmatch(path)
        ),
    )


def _query_parameters(document: dict[str, object], item: dict[str, object]) -> Iterator[str]:
    """Yield the names of the query parameters of a path's POST: those of the operation, and those of the whole path."""
    shared = as_object(as_object(document.get("components")).get("parameters"))
    for owner in (as_object(item.get("post")), item):
        for one in objects(owner.get("parameters")):
            reference = as_text(one.get("$ref")) or ""
            meant = as_object(shared.get(reference.removeprefix(_COMPONENTS))) if reference else one
            name = as_text(meant.get("name"))
            if name is not None and meant.get("in") == "query":
                yield name
