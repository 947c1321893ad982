"""Names that a person or a script lists: `--changed NAME`, `--changed @FILE`, `--changed -`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from orchestrator.changes.change_set import Change, ChangeSet, Effect, ObjectName, ReaderWarnings
from orchestrator.changes.errors import ChangesError
from orchestrator.changes.files import STDIN, decode, read_bytes

OPTION: Final = "--changed"
ADDITIVE_ONLY: Final = (
    "a list of names does not say what is gone, so a soft refresh is meant: a dropped table or column stays; "
    "give the migration with --ddl if something was dropped or renamed"
)
_PART: Final = re.compile(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[(?:[^\]]|\]\])*\]|[^."`\[\]]+')


def read_names(names: Sequence[str], *, stdin: Callable[[], bytes]) -> ChangeSet:
    """Return the listed schemas and tables as changes: `schema`, `schema.table`, `catalog.schema.table`, with `*` for all of a schema.

    `@FILE` and `-` (standard input) hold one name a line; empty lines and lines that begin with `#` are ignored. Names are taken as
    written, without the quotes around a part. The effect is additive, and a warning says so. Raises `ChangesError`.
    """
    notices = ReaderWarnings()
    changes: dict[ObjectName, Change] = {}
    for source, line, text in _lines(names, stdin, notices):
        name = parse_listed(text, source=source, line=line)
        change = Change(name=name, effect=Effect.ADDITIVE, source=source, line=line, reason="is listed")
        changes.setdefault(name, change)  # what is listed twice is one change
    if changes:
        notices.add(ADDITIVE_ONLY)
    return ChangeSet(changes=tuple(changes.values()), warnings=notices.render())


def _lines(names: Sequence[str], stdin: Callable[[], bytes], notices: ReaderWarnings) -> Iterator[tuple[str, int, str]]:
    """Return each name with its source and its line there."""
    for given in names:
        if given != "-" and not given.startswith("@"):
            yield OPTION, 0, given.strip()
            continue
        source = STDIN if given == "-" else str(Path(given[1:]))
        data = stdin() if given == "-" else read_bytes(Path(given[1:]))
        for number, line in enumerate(decode(data, source, notices).splitlines(), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                yield source, number, line.strip()


def parse_listed(text: str, *, source: str = OPTION, line: int = 0) -> ObjectName:
    """Return one listed name. Raises `ChangesError` if it is none: empty parts, open quotes, more than three parts."""
    is_name = re.fullmatch(rf"(?:{_PART.pattern})(?:\.(?:{_PART.pattern}))*", text)
    parts = [_bare(part) for part in _PART.findall(text)] if is_name else []
    what = "would be everything; leave the option out for that" if parts == ["*"] else ""
    if not parts or len(parts) > 3 or not all(parts):
        what = "is no name; write schema, schema.table or catalog.schema.table"
    if what:
        raise ChangesError(f"{text!r} {what}", source=source, line=line, code="invalid-name")
    if len(parts) == 1:
        return ObjectName(None, parts[0], None)
    catalog, schema, table = parts[0] if len(parts) == 3 else None, *parts[-2:]
    if table == "*":
        return ObjectName(catalog, None if schema == "*" and catalog else schema, None)
    return ObjectName(catalog, None if schema == "?" else schema, table)


def _bare(part: str) -> str:
    if part[0] in '"`[':
        return part[1:-1].replace(part[-1] * 2, part[-1])
    return part.strip()
