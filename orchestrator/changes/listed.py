"""Names that a person or a script lists: `--changed NAME`, `--changed @FILE`, `--changed -`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from orchestrator.changes.change_set import Change, ChangeSet, Effect, ObjectName, ReaderWarnings
from orchestrator.changes.errors import ChangesError
from orchestrator.changes.files import STDIN, decode, read_bytes

OPTION: Final = "--changed"
ADDITIVE_ONLY: Final = (
    "a list of names does not say what is gone, so a soft refresh is meant: a dropped table or column stays; "
    "give the migration with --ddl where something was dropped or renamed"
)
_PART: Final = re.compile(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[(?:[^\]]|\]\])*\]|[^."`\[\]]+')


class _Listed(NamedTuple):
    source: str
    line: int
    text: str


def read_names(names: Sequence[str], *, stdin: Callable[[], bytes]) -> ChangeSet:
    """The listed schemas and tables as changes: `schema`, `schema.table`, `catalog.schema.table`, with `*` for all of a schema.

    `@FILE` and `-` (standard input) hold one name a line; empty lines and lines that begin with `#` are passed. Names are taken as
    written, without the quotes around a part. The effect is additive, and a warning says so. Raises `ChangesError`.
    """
    notices = ReaderWarnings()
    changes: dict[ObjectName, Change] = {}
    for each in _lines(names, stdin, notices):
        name = parse_listed(each.text, source=each.source, line=each.line)
        # what is listed twice is one change
        changes.setdefault(
            name, Change(name=name, effect=Effect.ADDITIVE, source=each.source, line=each.line, reason="is listed")
        )
    if changes:
        notices.add(ADDITIVE_ONLY)
    return ChangeSet(changes=tuple(changes.values()), warnings=notices.render())


def _lines(names: Sequence[str], stdin: Callable[[], bytes], notices: ReaderWarnings) -> Iterator[_Listed]:
    for name in names:
        if name == "-":
            yield from _file(decode(stdin(), STDIN, notices), STDIN)
        elif name.startswith("@"):
            path = Path(name[1:])
            yield from _file(decode(read_bytes(path), str(path), notices), str(path))
        else:
            yield _Listed(OPTION, 0, name.strip())


def _file(text: str, source: str) -> Iterator[_Listed]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _Listed(source, number, line.strip())


def parse_listed(text: str, *, source: str = OPTION, line: int = 0) -> ObjectName:
    """One listed name. Raises `ChangesError` if it is none: empty parts, open quotes, more than three parts."""
    parts: list[str] = []
    here = 0
    while True:
        match = _PART.match(text, here)
        if match is None:
            raise ChangesError(
                f"{text!r} is no name; write schema, schema.table or catalog.schema.table", source=source, line=line
            )
        parts.append(_bare(match[0]))
        here = match.end()
        if here == len(text):
            break
        if text[here] != ".":
            raise ChangesError(
                f"{text!r} is no name: what follows a quoted part must be a dot", source=source, line=line
            )
        here += 1
    if len(parts) > 3 or not all(parts):
        raise ChangesError(
            f"{text!r} is no name; write schema, schema.table or catalog.schema.table", source=source, line=line
        )
    return _named(parts, text, source=source, line=line)


def _named(parts: list[str], text: str, *, source: str, line: int) -> ObjectName:
    if parts[-1] == "*":
        if parts[-2:] == ["*", "*"] and len(parts) == 3:
            return ObjectName(parts[0], None, None)
        if len(parts) == 1:
            raise ChangesError(f"{text!r} would be everything; leave the option out for that", source=source, line=line)
        return ObjectName(parts[-3] if len(parts) == 3 else None, parts[-2], None)
    if len(parts) == 1:
        return ObjectName(None, parts[0], None)
    return ObjectName(parts[0] if len(parts) == 3 else None, None if parts[-2] == "?" else parts[-2], parts[-1])


def _bare(part: str) -> str:
    if part[0] in '"`[':
        closing = part[-1]
        return part[1:-1].replace(closing * 2, closing)
    return part.strip()
