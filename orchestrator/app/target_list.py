"""The targets that a selection holds, as JSON data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.manifest.manifest import Entry

_AS_THEY_ARE: Final = (
    *("name", "instance", "model_id", "model_name", "branch", "max_branches", "connection"),
    *("schemas", "tables", "tags", "enabled"),
)


def make_target_list(entries: Sequence[Entry]) -> dict[str, object]:
    """Return what `ls --json` prints."""
    rows = [
        {
            **{field: getattr(entry, field) for field in _AS_THEY_ARE},
            "refresh": entry.refresh.value,
            "mode": entry.mode.value,
            "line": entry.place.line,
        }
        for entry in entries
    ]
    return {"targets": rows}
