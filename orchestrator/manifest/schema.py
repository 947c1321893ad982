"""The manifest as JSON Schema 2020-12: what editors complete and check with, made from the tables that the reader uses."""

from __future__ import annotations

from orchestrator.manifest.field_types import JsonSchema
from orchestrator.manifest.top import TOP


def manifest_json_schema() -> JsonSchema:
    """The schema of a manifest. It is never stricter than the reader, which also checks what no schema can say."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:omni-refresh:manifest:1",
        "title": "omni-refresh manifest",
        "description": "Which Omni models are refreshed, and how. Keys at the top that begin with x- are ignored.",
        **TOP.schema(),
        "patternProperties": {"^x-": {}},
    }
