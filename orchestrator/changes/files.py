"""What `--ddl` and `--changed` name: SQL in files, folders, globs and standard input, and listed tables."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from orchestrator.changes.change_set import MAX_PLACES, Change, ChangeSet, Effect, ObjectName, ReaderWarnings, merge
from orchestrator.changes.context import Known
from orchestrator.changes.dialects import dialect_named
from orchestrator.changes.errors import ChangesError
from orchestrator.changes.lexer import words
from orchestrator.changes.reader import read_sql
from orchestrator.changes.session import open_session
from orchestrator.changes.tool_text import FLYWAY
from orchestrator.errors import UsageError, together
from orchestrator.input_file import read_input
from orchestrator.text import and_more

STDIN: Final = "<stdin>"
MAX_BYTES: Final = 512 * 1024 * 1024
"""The largest file that is read."""

OPTION: Final = "--changed"
ADDITIVE_ONLY: Final = (
    "a list of names does not say what is gone, so a soft refresh is meant: a dropped table or column stays; "
    "give the migration with --ddl if something was dropped or renamed"
)
_PART: Final = re.compile(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[(?:[^\]]|\]\])*\]|[^."`\[\]]+')
_SUFFIXES: Final = words(".sql .ddl .psql .pgsql .tsql .mysql .hql .bqsql")
_UNDO: Final = re.compile(
    r"(?P<before>.*?)(?:down|undo|rollback)(?P<after>\.sql|(?<=\d\.undo)\..*)", re.IGNORECASE | re.DOTALL
)
"""Down migrations of golang-migrate, Diesel, db-migrate, Postgrator, authelia and similar tools. A dot before the word is enough.
Otherwise the forward migration must be beside the file: `spread_top_down.sql` reverts nothing.
"""
_FORWARD: Final = ("up", "do", "deploy", "forward", "apply", "migrate", "migration")
_OTHER_MIGRATION: Final = re.compile(
    r"(?:[VRB]\d*[\d._]*__.*\.(?:java|kt|py|class)|.*changelog.*\.(?:xml|ya?ml|json))", re.IGNORECASE
)


def read_ddl(
    paths: Sequence[str],
    *,
    dialect: str,
    default_schema: str | None = None,
    stdin: Callable[[], bytes],
    strict: bool = False,
    lists: Sequence[str] = (),
    values: Mapping[str, str] | None = None,
) -> ChangeSet:
    """Return what the migrations at `paths` touch: files, folders (all SQL below them), globs, `@LIST`, or `-` for standard input.

    `lists` are files, or `-`, that name files, one per line or each ended by a NUL. Each file is a session of its own. Files that revert
    a migration are left out, with a warning. `values` fill placeholders. Raises `ChangesError` for a path that is missing, unreadable
    or not text, and, with `strict`, for a statement that is not understood; and what `read_sql` raises.
    """
    notices, known = ReaderWarnings(), Known()
    open_session(dialect_named(dialect), default_schema)
    read = partial(
        read_sql, dialect=dialect, default_schema=default_schema, values=values, known=known, notices=notices
    )
    sets: list[ChangeSet] = []
    files = _sources(paths, lists, stdin, notices)
    # the numbers in the files' paths say in what order migrations run
    numbers = [[int(each[-18:]) for each in re.findall("[0-9]+", str(file))] for file in files if file]
    are_in_order = (versions := [each for each in numbers if each]) == sorted(versions)
    for file in files:
        if not are_in_order:
            known.columns.clear()  # a file that is read later may have run before, so types are known only within a file
        if file is not None and _is_undo(file):
            what = "files that revert a migration were left out; to read one, pass it on standard input (-)"
            notices.add(what, str(file))
            continue
        source, data = _source(str(file or "-"), stdin)
        sets.append(read(decode(data, source, notices), source=source))
    found = replace(merge(*sets), warnings=notices.render())
    if strict and found.not_understood:
        first, *others = found.not_understood
        shown = [f"{each.source}:{each.line}: {each.text}" for each in others[:MAX_PLACES]]
        also = f"; also {and_more(shown, len(others), separator='; ')}" if others else ""
        advice = "say what it touches with --changed, or leave --strict out"
        text = f"not understood ({first.reason}): {first.text}{also}; {advice}"
        raise ChangesError(text, source=first.source, line=first.line, code="not-understood")
    return found


def _source(given: str, stdin: Callable[[], bytes]) -> tuple[str, bytes]:
    """Return what a file is called in messages, and what it holds; `-` is standard input."""
    return (STDIN, stdin()) if given == "-" else (str(Path(given)), read_bytes(Path(given)))


def _sources(
    paths: Sequence[str], lists: Sequence[str], stdin: Callable[[], bytes], notices: ReaderWarnings
) -> list[Path | None]:
    """Return the files to read, in order, each once; None is standard input. Raises an error for all that do not exist."""
    files: dict[Path | None, Path | None] = {}
    errors: list[UsageError] = []
    for path, is_list in (*((path, False) for path in paths), *((path, True) for path in lists)):
        if path == "-" and not is_list:
            files[None] = None
            continue
        try:
            if is_list or (path.startswith("@") and not Path(path).exists()):
                found = _listed(path if is_list else path[1:], stdin, notices)
            else:
                found = _matching(path, notices)
            files.update((file.resolve(), file) for file in found if file.resolve() not in files)
        except OSError as failed:
            raise _unreadable(failed, str(failed.filename or "")) from failed
        except UsageError as error:
            errors.append(error)
    if errors:
        raise together(errors)
    return list(files.values())


def _listed(source: str, stdin: Callable[[], bytes], notices: ReaderWarnings) -> list[Path]:
    """Return the files that a list names: one a line, or each ended by a NUL as `git diff -z` and `find -print0` write them."""
    shown, data = _source(source, stdin)
    is_nul = b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = os.fsdecode(data) if is_nul else decode(data, shown, notices)
    files: list[Path] = []
    errors: list[UsageError] = []
    for number, line in enumerate(text.split("\0") if is_nul else text.splitlines(), start=1):
        name = line if is_nul else line.strip()
        if name and Path(name).exists():
            files += _opened(Path(name), notices)
        elif name:
            what, at = f"no such file or folder: {name}", 0 if is_nul else number
            errors.append(ChangesError(what, source=shown, line=at, code="missing-migration"))
    if errors:
        raise together(errors)
    if not files:
        notices.add("a list names no file, so nothing was read from it", shown)
    return files


def _is_undo(file: Path) -> bool:
    """Return whether the file reverts a migration: its name says so, and the forward migration is in the same folder."""
    if FLYWAY.match(file.name):
        return file.name[0] in "Uu"
    found = _UNDO.fullmatch(file.name)
    if found is None or (found["before"] and found["before"][-1] not in "._-"):
        return False
    before, after = found["before"], found["after"]
    if before.endswith("."):
        return True
    forward = {f"{before}{word}{after}".lower() for word in _FORWARD} | {f"{before.rstrip('._-')}{after}".lower()}
    return any(each.name.lower() in forward for each in file.parent.iterdir())


def _matching(path: str, notices: ReaderWarnings) -> list[Path]:
    """Return the files that one argument means, in the order of their names: a file, a folder or a glob without hidden files."""
    pattern = Path(path)
    if pattern.exists():
        return _opened(pattern, notices)
    plain = next((at for at, part in enumerate(pattern.parts) if any(sign in part for sign in "*?[")), None)
    if plain is None:
        raise ChangesError("no such file or folder", source=path, code="missing-migration")
    root = Path(*pattern.parts[:plain])
    found = root.glob("/".join(pattern.parts[plain:]))
    seen = (each for each in found if not any(part.startswith(".") for part in each.relative_to(root).parts))
    # A pattern without a suffix means SQL; one with a suffix means what it says.
    matched = [each for each in seen if pattern.suffix or each.is_dir() or each.suffix.lower() in _SUFFIXES]
    if not matched:
        raise ChangesError("no file matches this pattern", source=path, code="missing-migration")
    return [file for each in sorted(matched) for file in _opened(each, notices)]


def _opened(folder: Path, notices: ReaderWarnings) -> list[Path]:
    """Return the file, or every SQL file below a folder, without hidden folders and Sqitch's revert and verify."""
    if not folder.is_dir():
        return [folder]
    files: list[Path] = []
    for file in sorted(folder.rglob("*")):
        inner = file.relative_to(folder).parts
        sqitch = (
            folder.joinpath(*inner[:at], "deploy") for at, part in enumerate(inner) if part in {"revert", "verify"}
        )
        if any(part.startswith(".") for part in inner) or not file.is_file() or any(each.is_dir() for each in sqitch):
            continue
        if file.suffix.lower() in _SUFFIXES:
            files.append(file)
        elif _OTHER_MIGRATION.fullmatch(file.name):
            what = "migrations that are not SQL were not read; give the SQL that they run (dry run, updateSQL, --sql)"
            notices.add(what, str(file))
    if not files:
        notices.add("no SQL files are in a folder", str(folder))
    return files


def read_bytes(file: Path) -> bytes:
    """Return the file's bytes. Raises `ChangesError` if it cannot be read or is too large."""
    try:
        return read_input(file, MAX_BYTES)
    except OSError as failed:
        raise _unreadable(failed, str(file)) from failed


def _unreadable(failed: OSError, source: str) -> ChangesError:
    if failed.errno == errno.EFBIG:
        what = f"larger than {MAX_BYTES // 1024 // 1024} MiB; give the migrations, not a dump"
        return ChangesError(what, source=source, code="file-too-large")
    return ChangesError(f"cannot be read: {failed.strerror or failed}", source=source, code="unreadable-file")


def decode(data: bytes, source: str, notices: ReaderWarnings) -> str:
    """Return the bytes as text: UTF-8, UTF-16 with a byte order mark, or else Windows-1252, with a warning.

    Raises `ChangesError` for UTF-16 without a mark, and for bytes that are not text.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) and data[2:4] != b"\0\0":
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as wrong:
            raise ChangesError(f"is damaged UTF-16: {wrong.reason}", source=source, code="not-utf8") from wrong
    if b"\0" in data[:4096]:
        what = "is UTF-16 without a byte order mark, or no text at all; save it as UTF-8"
        raise ChangesError(what, source=source, code="not-utf8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        what = "not UTF-8; read as Windows-1252, so names with other letters than English ones may be wrong"
        notices.add(what, f"{source}:{line}")
        return data.decode("cp1252", errors="replace")


def read_names(names: Sequence[str], *, stdin: Callable[[], bytes]) -> ChangeSet:
    """Return the listed schemas and tables as changes: `schema`, `schema.table`, `catalog.schema.table`, with `*` for all of a schema.

    `@FILE` and `-` (standard input) have one name per line; empty lines and lines that begin with `#` are ignored. Names keep their
    case and lose the quotes around a part. The effect is additive, and a warning says so. Raises `ChangesError`.
    """
    notices = ReaderWarnings()
    changes: dict[ObjectName, Change] = {}
    for given in names:
        lines, source = [(0, given)], OPTION
        if given == "-" or given.startswith("@"):
            source, data = _source(given.removeprefix("@"), stdin)
            lines = list(enumerate(decode(data, source, notices).splitlines(), start=1))
        for line, text in lines:
            if not line or (text.strip() and not text.lstrip().startswith("#")):
                name = parse_listed(text.strip(), source=source, line=line)
                change = Change(name=name, effect=Effect.ADDITIVE, source=source, line=line, reason="is listed")
                changes.setdefault(name, change)  # what is listed twice is one change
    if changes:
        notices.add(ADDITIVE_ONLY)
    return ChangeSet(changes=tuple(changes.values()), warnings=notices.render())


def parse_listed(text: str, *, source: str = OPTION, line: int = 0) -> ObjectName:
    """Return one listed name. Raises `ChangesError` for empty parts, open quotes or more than three parts."""
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
