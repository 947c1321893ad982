"""What the runs under one key came to, for a scheduler that starts a task again."""

from __future__ import annotations

from orchestrator.app.context import Context
from orchestrator.app.state import open_state
from orchestrator.report.document import parse_document
from orchestrator.report.report import Report


def reports_of_key(key: str, context: Context, state: str | None = None) -> tuple[Report, ...]:
    """Return the reports of the runs under `key` that ended, oldest first. Raises `UsageError` if the state cannot be used."""
    with open_state(context, state) as opened:
        journal = opened.journal
        records = [record for record in reversed(journal.runs()) if record.key == key]
        documents = [journal.document(record.id) for record in records]
    return tuple(parse_document(document) for document in documents if document is not None)
