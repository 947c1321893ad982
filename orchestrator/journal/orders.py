"""What a run was told to do, as the journal stores it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.journal.database import Database, JournalError
from orchestrator.journal.records import StoredRequest
from orchestrator.manifest.manifest import Entry
from orchestrator.values import as_data, from_data


def pack(data: object) -> bytes:
    """Return JSON data as it is stored: compressed."""
    return zlib.compress(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def unpack(packed: bytes) -> Any:
    """Return stored JSON data. Raises `ValueError` or `zlib.error` if it is damaged."""
    return json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))


def pack_orders(orders: StoredRequest) -> bytes:
    """Return what a run was told to do, without its keys, as it is stored."""
    manifest = orders.manifest
    instances = {
        name: replace(i, keys=tuple(replace(k, secret=None) for k in i.keys)) for name, i in manifest.instances.items()
    }
    return pack(as_data(replace(orders, manifest=replace(manifest, instances=instances, secrets=(), state=None))))


def read_orders(database: Database, root: str) -> StoredRequest:
    """Return what a run was told to do. Raises `JournalError` if this version cannot read it."""
    rows = database.read("SELECT orders FROM runs WHERE id = ? AND orders IS NOT NULL", (root,))
    try:
        return from_data(StoredRequest, unpack(rows[0][0]))
    except (IndexError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise JournalError(
            f"what run {root} was to do cannot be read: {type(error).__name__}: {error}", code="damaged-state"
        ) from None


def with_branches(orders: StoredRequest, found: Mapping[int, Sequence[Entry]]) -> StoredRequest:
    """Return the orders with the entries of branches instead of branch patterns. `found` has those by the pattern's index."""
    entries = tuple(one for entry in orders.manifest.entries for one in found.get(entry.index, (entry,)))
    selected = tuple(
        one for index in orders.selected for one in ([e.index for e in found[index]] if index in found else [index])
    )
    return replace(orders, manifest=replace(orders.manifest, entries=entries), selected=selected)
