"""What ends the reading of changes: each names the file, the line where there is one, and what to do.

UsageError                          2   orchestrator.errors
└── ChangesError                    2   a file, a folder or a name cannot be read as what it was given for
    ├── TemplatedError              2   the SQL holds placeholders of a template engine: nobody can say what will run
    └── MissingExtraError           2   a library of an extra of this program is not installed
"""

from __future__ import annotations

from orchestrator.errors import UsageError
from orchestrator.text import clean


class ChangesError(UsageError):
    """What was given cannot be read; nothing was sent."""

    def __init__(self, message: str, *, source: str = "", line: int = 0) -> None:
        """The text becomes `SOURCE:LINE: message`; `line` counts from 1, and 0 leaves it out."""
        where = f"{source}:{line}: " if source and line else f"{source}: " if source else ""
        super().__init__(clean(where + message))
        self.source = source
        self.line = line


class TemplatedError(ChangesError):
    """Placeholders stand where SQL should: the statement that will run is not in the file."""


class MissingExtraError(ChangesError):
    """A library is missing that comes with an extra."""
