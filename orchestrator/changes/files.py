"""Files, folders, globs and standard input to SQL text, and what all of it touches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from orchestrator.changes.change_set import ChangeSet, merge
from orchestrator.changes.errors import ChangesError
from orchestrator.changes.marks import forward_only
from orchestrator.changes.reader import read_sql

STDIN: Final = "<stdin>"
MAX_BYTES: Final = 512 * 1024 * 1024
"""The largest file that is read."""
MAX_SHOWN: Final = 5
"""So many of a list stand in a message."""

_SUFFIXES: Final = frozenset({".sql", ".ddl", ".psql", ".pgsql", ".tsql", ".mysql", ".hql", ".bqsql"})
_UNDO_NAME: Final = re.compile(
    r"U\d[\d._]*__.*|(?![VB]\d|[RA]__)(?:.*[._-])?(?:down|undo|rollback)\.sql|\d+\.undo\..*", re.IGNORECASE | re.DOTALL
)
"""Flyway's U files; golang-migrate, Diesel, db-migrate, Postgrator and their kin."""
_OTHER_MIGRATION: Final = re.compile(
    r"(?:[VRB]\d*[\d._]*__.*\.(?:java|kt|py|class)|.*changelog.*\.(?:xml|ya?ml|json))", re.IGNORECASE
)


class _Text(NamedTuple):
    source: str
    text: str


def read_ddl(
    paths: Sequence[str],
    *,
    dialect: str,
    default_schema: str | None = None,
    stdin: Callable[[], bytes],
    strict: bool = False,
) -> ChangeSet:
    """What the migrations at `paths` touch: files, folders (all SQL below them), globs, or `-` for standard input.

    Each file is a session of its own. Undo migrations are left out, with a warning. With `strict`, what is not understood raises.
    Raises `ChangesError` for a path that is not there, cannot be read or holds no text, and what `read_sql` raises.
    """
    warnings: list[str] = []
    sets = [
        read_sql(forward_only(each.text), source=each.source, dialect=dialect, default_schema=default_schema)
        for each in _texts(paths, stdin, warnings)
    ]
    if not sets:
        sets = [read_sql("", source="", dialect=dialect, default_schema=default_schema)]
    found = merge(*sets)
    found = replace(found, warnings=(*found.warnings, *dict.fromkeys(warnings)))
    if strict and found.not_understood:
        _refuse(found)
    return found


def _refuse(found: ChangeSet) -> None:
    first = found.not_understood[0]
    shown = [f"{each.source}:{each.line}: {each.text}" for each in found.not_understood[1:MAX_SHOWN]]
    more = len(found.not_understood) - MAX_SHOWN
    also = f"; also {'; '.join(shown)}" if shown else ""
    rest = f"; and {more} more" if more > 0 else ""
    raise ChangesError(
        f"not understood ({first.reason}): {first.text}{also}{rest}; say what it touches with --changed, or leave --strict out",
        source=first.source,
        line=first.line,
    )


def _texts(paths: Sequence[str], stdin: Callable[[], bytes], warnings: list[str]) -> Iterator[_Text]:
    seen: set[Path] = set()
    asked = False
    for path in paths:
        if path == "-":
            if not asked:
                asked = True
                yield _Text(STDIN, decode(stdin(), STDIN, warnings))
            continue
        for file in _files(path, warnings):
            real = file.resolve()
            if real in seen:
                continue
            seen.add(real)
            if _UNDO_NAME.fullmatch(file.name):
                warnings.append(
                    f"{file}: left out, for it takes a migration back; give it as - on standard input to read it"
                )
                continue
            yield _Text(str(file), decode(read_bytes(file), str(file), warnings))


def _files(path: str, warnings: list[str]) -> list[Path]:
    """The files that one argument means, in the order of their names."""
    file = Path(path)
    if file.is_dir():
        return _folder(file, warnings)
    if file.exists():
        return [file]
    if any(sign in path for sign in "*?["):
        if matched := _matching(file):
            return [each for one in matched for each in (_folder(one, warnings) if one.is_dir() else [one])]
        raise ChangesError("no file matches this pattern", source=path)
    raise ChangesError("no such file or folder", source=path)


def _matching(pattern: Path) -> list[Path]:
    """What a glob matches, `**` included; hidden files are not meant."""
    plain = next(at for at, part in enumerate(pattern.parts) if any(sign in part for sign in "*?["))
    root = Path(*pattern.parts[:plain])
    found = root.glob("/".join(pattern.parts[plain:]))
    seen = (each for each in found if not any(part.startswith(".") for part in each.relative_to(root).parts))
    # A pattern without a suffix means SQL; one with a suffix means what it says.
    return sorted(each for each in seen if pattern.suffix or each.is_dir() or each.suffix.lower() in _SUFFIXES)


def _folder(folder: Path, warnings: list[str]) -> list[Path]:
    """Every SQL file below `folder`, but for hidden folders and Sqitch's revert and verify."""
    files: list[Path] = []
    others: list[str] = []
    for file in sorted(folder.rglob("*")):
        inner = file.relative_to(folder).parts
        if any(part.startswith(".") for part in inner) or not file.is_file() or _is_sqitch_check(folder, inner):
            continue
        if file.suffix.lower() in _SUFFIXES:
            files.append(file)
        elif _OTHER_MIGRATION.fullmatch(file.name):
            others.append(str(file))
    if others:
        shown = ", ".join(others[:MAX_SHOWN]) + (", ..." if len(others) > MAX_SHOWN else "")
        warnings.append(
            f"migrations that are not SQL were not read: {shown}; give the SQL that they run (dry run, updateSQL, --sql)"
        )
    if not files:
        warnings.append(f"{folder}: no SQL files are in this folder")
    return files


def _is_sqitch_check(folder: Path, inner: tuple[str, ...]) -> bool:
    for at, part in enumerate(inner[:-1]):
        if part in {"revert", "verify"} and (folder.joinpath(*inner[:at]) / "deploy").is_dir():
            return True
    return False


def read_bytes(file: Path) -> bytes:
    """The file's bytes. Raises `ChangesError` if it cannot be read or is too large."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ChangesError(
                f"larger than {MAX_BYTES // 1024 // 1024} MiB; give the migrations, not a dump", source=str(file)
            )
        return file.read_bytes()
    except OSError as failed:
        raise ChangesError(f"cannot be read: {failed.strerror or failed}", source=str(file)) from failed


def decode(data: bytes, source: str, warnings: list[str]) -> str:
    """The bytes as text: UTF-8, with or without its mark; else Windows-1252, with a warning. Raises `ChangesError` for UTF-16."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4096]:
        raise ChangesError("is UTF-16 or no text at all; save it as UTF-8", source=source)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        warnings.append(
            f"{source}:{line}: not UTF-8; read as Windows-1252, so names with other letters than English ones may be wrong"
        )
        return data.decode("cp1252", errors="replace")
