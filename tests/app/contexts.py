"""Contexts for tests of use cases."""

from collections.abc import Mapping
from pathlib import Path

from orchestrator.app.context import Context
from orchestrator.engine.events import RunEvent
from orchestrator.log.redaction import Redactor


class Events:
    """An observer that keeps every event."""

    def __init__(self) -> None:
        self.seen: list[RunEvent] = []

    def __call__(self, event: RunEvent) -> None:
        """Keep an event."""
        self.seen.append(event)


def make_context(folder: Path, environ: Mapping[str, str] | None = None, *, events: Events | None = None) -> Context:
    """Return a context whose state lies in `folder`."""
    return Context(
        observe=events or Events(),
        environ={"OMNI_REFRESH_STATE_DIR": str(folder), **(environ or {})},
        redactor=Redactor(()),
    )
