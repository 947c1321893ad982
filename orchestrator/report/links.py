"""Addresses of pages in Omni. A report links to nothing else, and only if the instance's address is known."""

from __future__ import annotations

from urllib.parse import quote


def instance_link(address: str | None) -> str:
    """Return the address of an instance's pages without the API's path; empty if it is not known."""
    if not address or not address.startswith(("https://", "http://")):
        return ""
    return address.rstrip("/").removesuffix("/api").rstrip("/")


def model_link(address: str | None, model_id: str | None) -> str:
    """Return the address of the model's page in Omni, its IDE; empty if the instance's address or the model is not known.

    Source: Omni's documentation of how to find a model's id. It has no address for a connection's page.
    """
    root = instance_link(address)
    return f"{root}/models/{_segment(model_id)}/ide" if root and model_id else ""


def document_link(address: str | None, identifier: str | None) -> str:
    """Return the address of a document's workbook in Omni; empty if the instance's address or the identifier is not known.

    The vendor's API answers with this address for a document's queries. Every document has a workbook, and not all have a
    dashboard.
    """
    root = instance_link(address)
    return f"{root}/w/{_segment(identifier)}" if root and identifier else ""


def _segment(text: str) -> str:
    return quote(text, safe="", errors="backslashreplace")
