"""Every command in the pages is run here against a simulated instance, or says by its mark why it is not.

A mark is a comment above the block: `<!-- output -->` (`test_outputs` runs it), `<!-- tested by FILE -->`, or
`<!-- needs WHAT -->`: then the commands of other programs are not run, those of this one are. Without a mark, each line is a
command of this program, of `make`, or of the benchmarks.
"""

import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from tests.changes import test_dbt as dbt
from tests.docs.pages import Block, blocks
from tests.docs.terminal import Terminal, opened_terminal
from tests.house.tree import ROOT

MARK: Final = re.compile(r"output|tested by (?P<file>\S+)|needs \w.*")
MODELS: Final = ("Sales", "Billing", "Ledger")
FILES: Final = {
    "migrations/V13__ledger.sql": "CREATE TABLE ledger.entries (a int);\n",
    "pending.txt": "migrations/V13__ledger.sql\n",
    "pending.sql": "CREATE TABLE ledger.entries (a int);\n",
    "rendered.sql": "CREATE TABLE ledger.entries (a int);\n",
    "changed.txt": "billing.invoices\n",
    "slow-night.yaml": "default_model: {duration: 20}\n",
    "nightly.scenario.yaml": "default_model: {duration: 2}\n",
}
"""Files that the pages' commands read and that no page has to show."""
HERE: Final = {
    "/var/lib/node_exporter/textfile/": "",
    "20261124": "20261119",
    "sql/": "migrations/",
}
"""What a command names of the reader's machine, and what stands for it here."""


def lines(block: Block) -> list[str]:
    """The commands of a block, continued lines joined."""
    return [line[2:] for line in block.text.replace("\\\n", " ").splitlines() if line.startswith("$ ")]


def program_of(line: str) -> str:
    """The program of a command, behind variables that are set for it."""
    return next(word for word in line.split() if not re.match(r"\w+=", word))


NOT_HERE: Final = "needs a PostgreSQL server"
"""The mark of a block whose commands of this program are not run either."""
BLOCKS: Final = [block for block in blocks("console") if lines(block)]
UNMARKED: Final = [block for block in BLOCKS if not MARK.fullmatch(block.comment)]
COMMANDS: Final = [
    (block, line)
    for block in BLOCKS
    if not block.comment.startswith(("output", "tested by", NOT_HERE))
    for line in lines(block)
    if program_of(line) == "omni-refresh"
]


def test_marks_are_true() -> None:
    """A file that is said to test a block is there, and what has no mark can be run or read by the tests below."""
    files = [match["file"] for block in BLOCKS if (match := MARK.fullmatch(block.comment)) and match["file"]]
    assert files
    assert not [file for file in files if not (ROOT / file).is_file()]
    known = {"omni-refresh", "make", "jq"}
    foreign = [
        f"{block}: {line}"
        for block in UNMARKED
        for line in lines(block)
        if program_of(line) not in known and not line.startswith("python -m benchmarks.")
    ]
    assert not foreign, "\n".join(foreign)


@contextmanager
def desk(folder: Path) -> Iterator[Terminal]:
    """A terminal with an instance, the files that the commands name, a run of yesterday and one that was cut off."""
    start_at = datetime(2026, 11, 19, 2, tzinfo=UTC)
    with opened_terminal(folder, start_at=start_at, environ={"GITHUB_ACTIONS": ""}) as terminal:
        url = terminal.serve(
            connections=[{"name": "warehouse", "schemas": {"ledger": ["entries"], "billing": ["invoices"]}}],
            models=[{"name": name, "connection": "warehouse", "duration": 2} for name in MODELS],
        )
        terminal.environ["OMNI_BASE_URL"] = url
        entries = [{"model": name, "tags": ["nightly"], "reads": [name.lower()]} for name in MODELS]
        for name in ("nightly", "backfill", "after-migration", "bare"):
            terminal.write(f"{name}.yaml", json.dumps({"defaults": {"mode": "soft"}, "models": entries}))
        for name, text in FILES.items():
            terminal.write(name, text)
        terminal.write("configs/demo.yaml", (ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))
        terminal.write(
            "configs/demo.scenario.yaml", (ROOT / "configs" / "demo.scenario.yaml").read_text(encoding="utf-8")
        )
        for name in ("target", "built", "previous"):
            dbt.manifest(terminal.folder / name, a=dbt.node("a"))
            dbt.results(terminal.folder / name, a="success")
        terminal.output("omni-refresh run nightly.yaml")
        terminal.wait_until(datetime(2026, 11, 20, 2, tzinfo=UTC))
        terminal.output("omni-refresh run backfill.yaml --report backfill.jsonl", stop_after_s=1)
        yield terminal


@pytest.mark.parametrize("page", sorted({str(block.page) for block, _ in COMMANDS}))
def test_commands_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of this program that a page shows without its output ends well, in the page's order."""
    monkeypatch.delenv("PYTHONASYNCIODEBUG", raising=False)
    with desk(tmp_path) as terminal:
        for block, line in COMMANDS:
            if str(block.page) != page:
                continue
            command = line
            for shown, here in HERE.items():
                command = command.replace(shown, here)
            # without variables in front (the desk has its own), and without what a shell does with the output
            command = re.split(r" \| | 2> ", re.sub(r"^(\w+=\S+ )+", "", command))[0]
            text = terminal.output(command)
            assert terminal.code == ("demo.yaml" in command), f"{block}: {line}\n{text}"


def test_benchmarks_have_the_options_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each benchmark that a page names can be imported, and takes the arguments that are shown."""
    found = 0
    for block in UNMARKED:
        for line in lines(block):
            if line.startswith("python -m benchmarks."):
                _, _, module, *words = shlex.split(line)
                monkeypatch.setattr(sys, "argv", [module, *words, "--help"])
                with pytest.raises(SystemExit) as ended:
                    importlib.import_module(module).main()
                assert ended.value.code == 0, f"{block}: {line}"
                found += 1
    assert found
