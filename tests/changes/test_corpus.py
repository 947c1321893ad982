"""The labelled corpus: statements as people write them in migrations, and what each touches by its vendor's rules."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.changes.change_set import ChangeSet, Effect
from orchestrator.changes.dialects import DIALECTS
from orchestrator.changes.reader import read_sql

CORPUS = Path(__file__).parent / "corpus"
SIGNS = {"+": Effect.ADDITIVE, "-": Effect.DESTRUCTIVE}


@cache
def entries() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Every labelled statement, with its dialect."""
    return tuple(
        (file.stem, entry)
        for file in sorted(CORPUS.glob("*.yaml"))
        for entry in yaml.load(file.read_bytes(), yaml.CSafeLoader)
    )


def read(dialect: str, entry: dict[str, Any]) -> ChangeSet:
    """What the reader finds in one entry's SQL."""
    return read_sql(entry["sql"], source="x.sql", dialect=dialect, default_schema=entry.get("default_schema"))


def test_the_corpus_is_large_and_covers_every_dialect() -> None:
    """The corpus has at least 300 labelled statements, and all dialects."""
    assert len(entries()) >= 300
    assert {dialect for dialect, _ in entries()} == set(DIALECTS)


@pytest.mark.parametrize("number", range(len(entries())), ids=lambda n: f"{entries()[n][0]}-{n}")
def test_each_statement_touches_what_its_label_says(number: int) -> None:
    """The changes are exactly the labelled ones, and only statements labelled `unclear` are not understood."""
    dialect, entry = entries()[number]
    found = read(dialect, entry)
    told = [(str(change.name), change.effect) for change in found.changes]
    assert Counter(told) == Counter((each[1:], SIGNS[each[0]]) for each in entry["is"]), entry["sql"]
    assert bool(found.not_understood) is entry.get("unclear", False), (entry["sql"], found.not_understood)
