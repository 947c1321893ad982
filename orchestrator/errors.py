"""The errors that end a command, each with the exit code that the command then has.

    OmniRefreshError            1
    ├── UsageError              2   the command line, manifest or settings are wrong; nothing was sent
    │   ├── UsageErrors         2   several of them at once
    │   └── ManifestError       2   orchestrator.manifest.diagnostics: every fault of a manifest at once
    ├── LockedError             4   another run holds the lock; nothing was sent
    ├── RunDetached             1   the run left its jobs to `resume`, as it was asked to
    └── CallError               1   orchestrator.omni.errors: one call went wrong; ends one target, never a command

Errors of one package are defined there and derive from these. docs/reference/diagnostics.md lists the codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final


class OmniRefreshError(Exception):
    """Root of everything that this program raises on purpose. Its text may be shown to a person.

    `code` is a stable name of what is wrong, in kebab-case; empty for an error that never ends a command. `hint` is what to
    do about it, and `message` the text without the hint.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", *, code: str = "", hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.code: Final = code
        self.hint: Final = hint

    @property
    def errors(self) -> tuple[OmniRefreshError, ...]:
        """The errors that this one holds: itself, or several that were found together."""
        return (self,)


class UsageError(OmniRefreshError):
    """The command line, the manifest or a setting is wrong; nothing was sent."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, code: str = "invalid-usage", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)

    @property
    def errors(self) -> tuple[UsageError, ...]:
        """This error; `UsageErrors` has several."""
        return (self,)


class UsageErrors(UsageError):
    """Several things are wrong at once. The text has one line for each; `code` is that of the first."""

    def __init__(self, errors: Iterable[UsageError]) -> None:
        self._errors: Final = tuple(errors)
        super().__init__("\n".join(map(str, self._errors)), code=self._errors[0].code)

    @property
    def errors(self) -> tuple[UsageError, ...]:
        """The errors that were found together."""
        return self._errors


def together(errors: Iterable[UsageError]) -> UsageError:
    """Return one error that holds all of `errors`, each once: the only one, or `UsageErrors`."""
    different = tuple({str(one): one for error in errors for one in error.errors}.values())
    return different[0] if len(different) == 1 else UsageErrors(different)


class LockedError(OmniRefreshError):
    """Another run holds what this one needs; nothing was sent."""

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, *, code: str = "run-locked", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)


class RunDetached(OmniRefreshError):
    """The run ended before its jobs, as `detach` asked: `resume` with `run_id` follows them. There is no report yet."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} left its jobs", hint="`resume` follows them to their end")
        self.run_id: Final = run_id
