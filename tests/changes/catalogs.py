"""What an engine holds, how two such catalogs differ, and a session with an engine's own client program."""

import json
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0
"""An engine that says nothing for so long has failed."""


Place = tuple[str, ...]
"""(database, schema, relation), or without the database where an engine has none above its schemas. (..., schema, "*") is a
schema, (database, "*", "*") a database.
"""


_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')


_DISPLAYED = re.compile(r"^((?:tiny|small|medium|big)?int)\(\d+\)")
"""MySQL shows an integer's width, which limits nothing."""
_TEXTS = ("tinytext", "text", "mediumtext", "longtext")
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "integer", "bigint")


_DIGITS = re.compile(r"(?:numeric|decimal)\((\d+),(\d+)\)")


_LIMITED = re.compile(r"(.*)\((\d+)\)")


@dataclass(frozen=True, slots=True)
class Catalog:
    """What an engine holds."""

    columns: Mapping[Place, Mapping[str, str]]
    """The type of each column, by name."""
    details: Mapping[Place, str]
    """All else that the engine tells."""


class EngineError(Exception):
    """An engine refused a statement."""


def differences(before: Catalog, after: Catalog) -> dict[Place, str]:
    """What differs: `+` came or grew, `-` went or lost something, `~` kept its columns and their types."""
    found: dict[Place, str] = {}
    for place in before.columns.keys() | after.columns.keys():
        old, new = before.columns.get(place), after.columns.get(place)
        if old is None:
            found[place] = "+"
        elif new is None or not all(_holds(new.get(column, ""), kind) for column, kind in old.items()):
            found[place] = "-"
        elif new != old:
            found[place] = "+"
        elif before.details[place] != after.details[place]:
            found[place] = "~"
    return found


def _holds(new: str, old: str) -> bool:
    """Whether a type is the one that was or takes all of its values: a wider one, or a record that has got more fields."""
    new, old = (_DISPLAYED.sub(r"\1", each) for each in (new, old))
    if new in _INTEGERS and old in _INTEGERS:
        return _INTEGERS.index(new) >= _INTEGERS.index(old)
    if new in {"text", "character varying"} and re.fullmatch(r"character(?: varying)?\(\d+\)|character varying", old):
        return True
    if new in _TEXTS and (re.fullmatch(r"(?:var)?char\(\d+\)", old) or old in _TEXTS[: _TEXTS.index(new)]):
        return True
    digits, wider = _DIGITS.fullmatch(old), _DIGITS.fullmatch(new)
    if digits and wider:
        return int(wider[2]) >= int(digits[2]) and int(wider[1]) - int(wider[2]) >= int(digits[1]) - int(digits[2])
    grown, limited = _LIMITED.fullmatch(new), _LIMITED.fullmatch(old)
    if grown and limited and limited[1] in {"char", "character"} and grown[1] in {"varchar", "character varying"}:
        return int(grown[2]) >= int(limited[2])
    if limited and "char" in limited[1] and (new == limited[1] or (grown and grown[1] == limited[1])):
        return not grown or int(grown[2]) >= int(limited[2])
    return new == old or (old.startswith("STRUCT(") and new.startswith(old.removesuffix(")") + ","))


def fits(label: str, place: Place) -> bool:
    """Whether a labelled name speaks of what an engine holds: part by part from the end, `?` and `*` being any."""
    said = [quoted.replace('""', '"') or bare for quoted, bare in _PART.findall(label)]
    return all(part in {"?", "*", held} for part, held in zip(reversed(said), reversed(place), strict=False))


def make_catalog(rows: Iterable[Sequence[Any]]) -> Catalog:
    columns: dict[Place, dict[str, str]] = {}
    details: dict[Place, str] = {}
    for *where, column, kind, detail in rows:
        place = tuple(where)
        held = columns.setdefault(place, {})
        details[place] = details.get(place, "") + f"{column}:{detail};"
        if column is not None:
            held[column] = kind
    return Catalog(columns, details)


def read_catalog(lines: str) -> Catalog:
    return make_catalog(json.loads(line) for line in sorted(lines.splitlines()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientWords:
    """How an engine's client is told what to do."""

    echo: str
    run: str
    wrap: str
    error: re.Pattern[str]
    look: str
    state: str


class Session:
    """A client program that runs one statement after the other, each from a file: an open quote ends with it."""

    def __init__(self, command: list[str], folder: Path, environ: Mapping[str, str], words: ClientWords) -> None:
        self._words = words
        self._statement = folder / "statement.sql"
        self._count = 0
        self._state = ""
        self._client = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C", **environ},
        )

    def _ask(self, words: str) -> list[str]:
        """Return what the client prints while it does that."""
        self._count += 1
        mark = f"mark {self._count} {os.getpid()}"
        stdin, stdout = self._client.stdin, self._client.stdout
        if stdin is None or stdout is None:
            raise EngineError("the client has no pipes")
        watch = threading.Timer(PATIENCE_S, self._client.kill)
        watch.start()
        lines: list[str] = []
        try:
            stdin.write(f"{words}\n{self._words.echo.format(mark)}\n".encode())
            stdin.flush()
            while (line := stdout.readline()) and mark.encode() not in line:
                lines.append(line.decode(errors="replace"))
        except BrokenPipeError:
            line = b""
        finally:
            watch.cancel()
        if not line:
            raise EngineError("".join(lines[-3:]) or "the client ended")
        return lines

    def run(self, sql: str) -> str | None:
        """Run one statement; the answer is what the engine refused it with."""
        self._statement.write_text(self._words.wrap.format(sql) if "{}" in self._words.wrap else sql)
        said = self._ask(self._words.run.format(self._statement))
        return next((line.strip() for line in said if self._words.error.match(line)), None)

    def look(self) -> Catalog:
        """Return the catalog as the session sees it."""
        lines: list[str] = []
        for _ in range(3):  # MariaDB refuses now and then, if a table is changed meanwhile
            lines = self._ask(self._words.look)
            if any(line.startswith("[") for line in lines):
                return read_catalog("".join(line for line in lines if line.startswith("[")))
        raise EngineError("".join(lines[-3:]) or "the catalog is empty")

    def may_have_changed(self) -> bool:
        """Whether any definition may have changed since this was asked before."""
        before, self._state = self._state, "".join(self._ask(self._words.state))
        return self._state != before or not before

    def close(self) -> None:
        """End the client."""
        self._client.kill()
        self._client.communicate()


@contextmanager
def open_session(command: list[str], words: ClientWords, environ: Mapping[str, str]) -> Iterator[Session]:
    with tempfile.TemporaryDirectory(prefix="omni-sql-") as name:
        session = Session(command, Path(name), environ, words)
        try:
            yield session
        finally:
            session.close()
