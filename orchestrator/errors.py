"""The errors that end a command, each with the exit code that the command then has.

    OmniRefreshError            1
    ├── UsageError              2   the command line, manifest or settings are wrong; nothing was sent
    │   └── ManifestError       2   orchestrator.manifest.diagnostics: every fault of a manifest at once
    ├── LockedError             4   another run holds the lock; nothing was sent
    └── CallError               1   orchestrator.omni.errors: one call went wrong; ends one target, never a command

Room-specific errors are born in their rooms and derive from these.
"""

from __future__ import annotations

from typing import ClassVar


class OmniRefreshError(Exception):
    """Root of everything that this program raises on purpose; its text is fit to be shown to a person."""

    exit_code: ClassVar[int] = 1


class UsageError(OmniRefreshError):
    """The command line, the manifest or a setting is wrong; nothing was sent."""

    exit_code: ClassVar[int] = 2


class LockedError(OmniRefreshError):
    """Another run holds what this one needs; nothing was sent."""

    exit_code: ClassVar[int] = 4
