"""What the runs under one key came to, for a scheduler that starts a task again."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.app.context import Context
from orchestrator.app.state import open_state
from orchestrator.report.document import parse_document
from orchestrator.report.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHistory:
    """The `runs` under a key, and the reports of those that ended, oldest first. `has_ended`: the latest is one of them."""

    runs: int
    reports: tuple[Report, ...]
    has_ended: bool


def history_of_key(key: str, context: Context, state: str | None = None) -> KeyHistory:
    """Return what the runs under `key` came to. Raises `UsageError` if the state cannot be used."""
    with open_state(context, state) as opened:
        journal = opened.journal
        documents = [journal.document(record.id) for record in reversed(journal.runs_with_key(key))]
    return KeyHistory(
        runs=len(documents),
        reports=tuple(parse_document(document) for document in documents if document is not None),
        has_ended=bool(documents) and documents[-1] is not None,
    )
