"""What the reference says of reports is what the program writes."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.report.as_csv import COLUMNS
from orchestrator.report.document import report_json_schema
from orchestrator.report.files import Format
from orchestrator.report.report import Trigger

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SCHEMA = report_json_schema()

# The statuses share a row; `throttled` has one of its own, for there it counts calls.
STATUSES = {status.value for status in Status} - {"throttled"}
SUMMARY_FIELDS = [name for name in SCHEMA["properties"]["summary"]["properties"] if name not in STATUSES]


def section(page: str, title: str) -> str:
    """The text under a heading of a page, up to the next one."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    return re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def first_column(text: str) -> list[str]:
    """The words in code that stand first in a table's rows."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


@pytest.mark.parametrize(
    "title, fields",
    [
        ("run", SCHEMA["properties"]["run"]["properties"]),
        ("outcomes", SCHEMA["$defs"]["outcome"]["properties"]),
        ("calls", SCHEMA["$defs"]["call"]["properties"]),
        ("error", SCHEMA["$defs"]["error"]["properties"]),
        (
            "summary",
            [name for name in SCHEMA["properties"]["summary"]["properties"] if name not in set(Status) - {"throttled"}],
        ),
    ],
)
def test_everything_is_described(title: str, fields: Sequence[str]) -> None:
    """Every field has its row, and no other has one. Statuses and kinds of error have a page of their own."""
    assert sorted(first_column(section("report.md", title))) == sorted(fields)


def test_the_triggers_are_named() -> None:
    """The section on the run names each trigger."""
    for trigger in Trigger:
        assert f"`{trigger.value}`" in section("report.md", "run")


def test_every_format_is_described() -> None:
    """Each suffix is in the table of formats and has a section of its own; the columns of the CSV are all named."""
    page = (REFERENCE / "formats.md").read_text(encoding="utf-8")
    assert first_column(page)[: len(Format)] == [wanted.value for wanted in Format]
    for wanted in Format:
        assert section("formats.md", wanted.value)
    assert re.findall(r"`(\w+)`", section("formats.md", ".csv").partition("| columns |")[2]) == list(COLUMNS)


def test_the_good_statuses_are_named() -> None:
    """The rule for exit code 0 names the statuses that count as good."""
    good = ", ".join(f"`{status.value}`" for status in Status if status.is_good)
    told = section("report.md", "status").rpartition("A run exits 0 if every target is ")[2]
    assert told.strip() == " or ".join(good.rsplit(", ", 1)) + "."
