"""Refresh the schemas of many Omni models within the API's rate limit, and report one outcome per model.

The names in `__all__` are the public API; everything else is private. Importing this package costs next to nothing: each
name is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from orchestrator.api import (
        check,
        discover,
        doctor,
        history,
        load_manifest,
        load_report,
        ls,
        override_manifest,
        plan,
        read_changes,
        resume,
        retry,
        run,
        run_sync,
        write_report,
    )
    from orchestrator.app.check import CheckResult
    from orchestrator.app.discover import Discovery
    from orchestrator.app.plan import Plan
    from orchestrator.changes.change_set import ChangeSet
    from orchestrator.engine.events import RunEvent
    from orchestrator.engine.outcome import Outcome, Status
    from orchestrator.errors import LockedError, OmniRefreshError, RunDetached, UsageError
    from orchestrator.manifest.diagnostics import ManifestError
    from orchestrator.manifest.manifest import Manifest
    from orchestrator.report.report import Report

_API = "orchestrator.api"
_OTHER_HOMES = {
    "ChangeSet": "orchestrator.changes.change_set",
    "CheckResult": "orchestrator.app.check",
    "Discovery": "orchestrator.app.discover",
    "Plan": "orchestrator.app.plan",
    "LockedError": "orchestrator.errors",
    "OmniRefreshError": "orchestrator.errors",
    "RunDetached": "orchestrator.errors",
    "UsageError": "orchestrator.errors",
    "ManifestError": "orchestrator.manifest.diagnostics",
    "Manifest": "orchestrator.manifest.manifest",
    "Report": "orchestrator.report.report",
    "RunEvent": "orchestrator.engine.events",
    "Outcome": "orchestrator.engine.outcome",
    "Status": "orchestrator.engine.outcome",
}

__all__ = [
    "ChangeSet",
    "CheckResult",
    "Discovery",
    "LockedError",
    "Manifest",
    "ManifestError",
    "OmniRefreshError",
    "Outcome",
    "Plan",
    "Report",
    "RunDetached",
    "RunEvent",
    "Status",
    "UsageError",
    "__version__",
    "check",
    "discover",
    "doctor",
    "history",
    "load_manifest",
    "load_report",
    "ls",
    "override_manifest",
    "plan",
    "read_changes",
    "resume",
    "retry",
    "run",
    "run_sync",
    "write_report",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_OTHER_HOMES.get(name, _API)), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
