"""Refresh the schemas of many Omni models within the API's rate limit, and report one outcome per model.

The names in `__all__` are the public API; everything else is private. Importing this package costs next to nothing: each
name is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from orchestrator.api import load_manifest, plan, resume, retry, run, run_sync
    from orchestrator.app.plan import Plan
    from orchestrator.engine.events import RunEvent
    from orchestrator.engine.outcome import Outcome, Status
    from orchestrator.errors import LockedError, OmniRefreshError, UsageError
    from orchestrator.manifest.diagnostics import ManifestError
    from orchestrator.manifest.manifest import Manifest
    from orchestrator.report.report import Report

_HOMES = {
    "load_manifest": "orchestrator.api",
    "plan": "orchestrator.api",
    "resume": "orchestrator.api",
    "retry": "orchestrator.api",
    "run": "orchestrator.api",
    "run_sync": "orchestrator.api",
    "Plan": "orchestrator.app.plan",
    "LockedError": "orchestrator.errors",
    "OmniRefreshError": "orchestrator.errors",
    "UsageError": "orchestrator.errors",
    "ManifestError": "orchestrator.manifest.diagnostics",
    "Manifest": "orchestrator.manifest.manifest",
    "Report": "orchestrator.report.report",
    "RunEvent": "orchestrator.engine.events",
    "Outcome": "orchestrator.engine.outcome",
    "Status": "orchestrator.engine.outcome",
}

__all__ = [
    "LockedError",
    "Manifest",
    "ManifestError",
    "OmniRefreshError",
    "Outcome",
    "Plan",
    "Report",
    "RunEvent",
    "Status",
    "UsageError",
    "__version__",
    "load_manifest",
    "plan",
    "resume",
    "retry",
    "run",
    "run_sync",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
