"""`python -m benchmarks.migrations FOLDER... --engine postgres|mariadb`: compare the reader with migrations that a real database runs.

Each folder runs in an empty database of a server of its own, statement by statement, files in the order of their numbers. The
engine's catalog before and after each statement is the judge of what the reader said of that statement:

- missed: a table changed, and the statement neither names it nor counts as not understood;
- warned: the same, and the reader warned that CASCADE or a partitioned table takes more along;
- too weak: a column or a table is gone, and the reader said that something was added;
- in vain: a name to which nothing happened, although the engine took the statement and it has no condition (IF EXISTS, a block);
- not understood: the statement counts as touching everything;
- refused: the engine did not take it. The reader gets the file without it, as a migration has no such statement.

A statement counts once in a column. A file that the reader refuses, or after which the
catalog cannot be read, is named and left out.

A folder with placeholders needs their values: `--set NAME=VALUE`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.clients import COPIES, Piece, split
from orchestrator.changes.change_set import ChangeSet, ReaderWarnings
from orchestrator.changes.context import Known
from orchestrator.changes.errors import ChangesError
from orchestrator.changes.files import decode
from orchestrator.changes.reader import read_sql
from orchestrator.changes.tool_text import fill
from tests.changes.catalogs import EngineError, Place, Session, differences, fits
from tests.changes.engines import Mariadb, Postgres, mariadb, postgres

DATABASE: Final = "corpus"
DIALECTS: Final = {"postgres": "postgres", "mariadb": "mysql"}
SCHEMAS: Final = {"postgres": "public", "mariadb": DATABASE}
_UNDO: Final = re.compile(
    r"(?:.*[._-])?(?:down|undo|rollback|revert|verify)\.sql|U\d[\d._]*__.*", re.IGNORECASE | re.DOTALL
)
_CONDITION: Final = re.compile(
    r"\bIF\s+(?:NOT\s+)?EXISTS\b|\bOR\s+REPLACE\b|^\s*(?:DO|CALL|SELECT|WITH|EXECUTE)\b|\bBEGIN\b", re.IGNORECASE
)
_CASCADE: Final = re.compile(r"\bCASCADE\b", re.IGNORECASE)
_TAKEN_BACK: Final = re.compile(r"\s*(?:ROLLBACK|ABORT|COMMIT|END|PREPARE\s+TRANSACTION)\b", re.IGNORECASE)
_EXPLAIN: Final = re.compile(r"\bEXPLAIN\b", re.IGNORECASE)
_COMMENTS: Final = re.compile(r"(?:\s|--[^\n]*|#[^\n]*|/\*(?!M?!).*?\*/)*", re.DOTALL)

KINDS: Final = ("missed", "warned", "too weak", "in vain", "not understood")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement of which the reader and the engine say different things."""

    kind: str
    source: str
    line: int
    what: str
    text: str


@dataclass(slots=True, kw_only=True)
class Figures:
    """What came of a folder."""

    folder: str
    files: int = 0
    statements: int = 0
    refused: int = 0
    changes: int = 0
    """How many tables changed, statement by statement."""
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Count another's figures as well."""
        for number in ("files", "statements", "refused", "changes"):
            setattr(self, number, getattr(self, number) + getattr(other, number))
        self.findings += other.findings

    def row(self) -> str:
        """A row of the table."""
        counts = [len({(each.source, each.line) for each in self.findings if each.kind == kind}) for kind in KINDS]
        cells = [self.files, self.statements, self.refused, self.changes, *counts]
        return f"| {self.folder} | {' | '.join(f'{cell:,}' for cell in cells)} |"


def main() -> None:
    """Print a row for each folder, and what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrations", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--engine", choices=DIALECTS, default="postgres")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="what a placeholder stands for"
    )
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="read every Nth file only")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="show the first N findings of each kind")
    given = parser.parse_args()
    values = dict(each.split("=", 1) for each in given.set)
    with postgres() if given.engine == "postgres" else mariadb() as engine:
        if engine is None:
            parser.error(f"{given.engine} is not installed")
        print("| folder | files | statements | refused | changes | " + " | ".join(KINDS) + " |")
        print("|---|" + "---:|" * (4 + len(KINDS)))
        total = Figures(folder="all")
        for folder in given.folders:
            files = migrations(folder)[:: given.sample]
            figures = measure(engine, files, engine_name=given.engine, values=values, name=shown(folder))
            print(figures.row(), flush=True)
            for each in first_of_each_kind(figures.findings, given.show):
                print(f"    {each.kind}: {each.source}:{each.line}: {each.what}: {' '.join(each.text.split())[:300]}")
            total.add(figures)
        print(total.row())


def shown(folder: Path) -> str:
    """The folder as the table names it."""
    return folder.name


def first_of_each_kind(findings: Sequence[Finding], count: int) -> Iterator[Finding]:
    """At most `count` findings of each kind."""
    for kind in (*KINDS, "refused"):
        yield from [each for each in findings if each.kind == kind][:count]


def migrations(folder: Path) -> list[Path]:
    """The SQL files below a folder that go forward, numbers in the order of their values."""
    files = [each for each in folder.rglob("*.sql") if not _UNDO.fullmatch(each.name) and each.is_file()]
    return sorted(files, key=lambda file: _natural(str(file.relative_to(folder))))


def _natural(path: str) -> list[tuple[int, str]]:
    """Dates with and without dashes mean the same number, as migration tools read them."""
    parts = re.split(r"([0-9]+)", re.sub(r"(?<=\d)-(?=\d)", "", path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def measure(
    engine: Postgres | Mariadb,
    files: Sequence[Path],
    *,
    engine_name: str,
    values: Mapping[str, str],
    name: str,
    read: Callable[..., ChangeSet] = read_sql,
) -> Figures:
    """Run the files through the engine and hold what `read` says of each statement against the catalog."""
    figures = Figures(folder=name)
    known = Known()
    engine.anew()
    for file in files:
        text = fill(decode(file.read_bytes(), str(file), ReaderWarnings()), values, {}).text.replace("\r\n", "\n")
        notices = ReaderWarnings()
        run = _Run(str(file), [each for each in split(text, engine_name) if content(each.text)])
        try:
            with engine.session() as session:
                run.execute(session)
            said = read(
                run.without_refused(text),
                source=str(file),
                dialect=DIALECTS[engine_name],
                default_schema=SCHEMAS[engine_name],
                known=known,
                notices=notices,
            )
        except (EngineError, ChangesError) as failed:
            print(f"    {file} is left out: {failed}")
            continue
        run.compare(said, " ".join(notices.render()))
        figures.add(run.figures)
    return figures


def content(text: str) -> str:
    """The statement without the comments before it."""
    comments = _COMMENTS.match(text)
    return text[comments.end() if comments else 0 :].strip(" \t\n;")


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


class _Run:
    """One file: what the engine changes, statement by statement, and what the reader says of it."""

    def __init__(self, source: str, pieces: Sequence[Piece]) -> None:
        self.figures = Figures(folder=source, files=1, statements=len(pieces))
        self._source, self._pieces = source, pieces
        self._found: list[Mapping[Place, str]] = []
        """What each statement changed."""
        self._refused: set[int] = set()

    def execute(self, session: Session) -> None:
        """Run every statement. Raises `EngineError` if the catalog cannot be read."""
        before = session.look()
        session.may_have_changed()
        for number, piece in enumerate(self._pieces):
            error = session.run(piece.text)
            if error is not None:
                self._refused.add(number)
                self._add("refused", piece, error)
            # EXPLAIN ANALYZE runs a statement, and fires no trigger.
            may_differ = session.may_have_changed() or _EXPLAIN.search(piece.text)
            after = session.look() if may_differ else before
            taken_back = _TAKEN_BACK.match(content(piece.text))  # what was named before is taken back, not changed
            after = session.look() if taken_back else after
            self._found.append({} if taken_back or after is before else differences(before, after))
            before = after
        self.figures.refused = len(self._refused)

    def without_refused(self, text: str) -> str:
        """Return the text with blanks for the statements that the engine did not take: a migration holds none.

        A refused statement that changed something stays: MariaDB drops the tables of a list that it knows. What stands
        behind a refused COPY stays too: psql runs it, and only the last COPY gets the data.
        """
        for number in self._refused:
            piece = self._pieces[number]
            left = _blank(piece.text)
            if self._found[number]:
                left = COPIES.sub(lambda each: _blank(each[0]), piece.text, max(len(COPIES.findall(piece.text)) - 1, 1))
            text = text[: piece.begin] + left + text[piece.begin + len(left) :]
        return text

    def compare(self, said: ChangeSet, warned: str) -> None:
        """Record what is wrong with what the reader says."""
        self._warned = warned
        self._changes: list[dict[str, bool]] = [{} for _ in self._pieces]
        self._unclear: list[bool] = [False] * len(self._pieces)
        for change in said.changes:
            number = self._at(change.line, str(change.name))
            is_loss = change.effect.value == "destructive"
            held = self._changes[number]
            held[str(change.name)] = held.get(str(change.name), False) or is_loss
        for lost in said.not_understood:
            self._unclear[self._at(lost.line)] = True
        for number, found in enumerate(self._found):
            if not _TAKEN_BACK.match(content(self._pieces[number].text)):
                self._compare(number, found, refused=number in self._refused)

    def _at(self, line: int, name: str = "") -> int:
        """Return the statement of a line: the last that does not begin below it; of several in a line, one that changed `name`."""
        begun = [number for number, piece in enumerate(self._pieces) if piece.line <= line]
        last = begun[-1] if begun else 0
        beside = [number for number in begun if self._pieces[number].line == self._pieces[last].line]
        return next((each for each in beside if any(fits(name, place) for place in self._found[each])), last)

    def _compare(self, number: int, found: Mapping[Place, str], *, refused: bool) -> None:
        """Record what is wrong with one statement."""
        piece = self._pieces[number]
        named = self._changes[number]
        unclear = self._unclear[number]
        if unclear and not refused:
            self._add("not understood", piece, "")
        for place, sign in found.items():
            if sign == "~":
                continue
            self.figures.changes += 1
            effects = [is_loss for name, is_loss in named.items() if fits(name, place)]
            if unclear:
                continue
            shown_place = f"{sign}{'.'.join(place)}"
            if not effects:
                warned = (
                    "CASCADE" in self._warned if _CASCADE.search(piece.text) else "partitions" in self._warned and named
                )
                self._add("warned" if warned else "missed", piece, shown_place)
            elif sign == "-" and not any(effects):
                self._add("too weak", piece, shown_place)
        if not refused and not _CONDITION.search(content(piece.text)):
            for name in self._changes[number]:
                if not any(fits(name, place) for place in found):
                    self._add("in vain", piece, name)

    def _add(self, kind: str, piece: Piece, what: str) -> None:
        self.figures.findings.append(
            Finding(kind=kind, source=self._source, line=piece.line, what=what, text=content(piece.text))
        )


if __name__ == "__main__":
    main()
