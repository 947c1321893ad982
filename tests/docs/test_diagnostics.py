"""Every diagnostic code is documented, and asserted by a test."""

import ast
import re
from pathlib import Path

from orchestrator.cli.errors import CLICK_CODES, UNEXPECTED_ARGUMENT
from tests.house.tree import ROOT

PAGE = ROOT / "docs/reference/diagnostics.md"
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def _codes_in_source() -> set[str]:
    """Every text that is given, or is the default, as `code=`."""
    found = {*CLICK_CODES.values(), UNEXPECTED_ARGUMENT}
    for path in (ROOT / "orchestrator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            values: list[ast.expr | None] = []
            if isinstance(node, ast.keyword) and node.arg == "code":
                values = [node.value]
            elif isinstance(node, ast.arguments):
                pairs = zip(node.kwonlyargs, node.kw_defaults, strict=True)
                values = [default for arg, default in pairs if arg.arg == "code"]
            found |= {v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str) and v.value}
    return found


def _codes_on_page() -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def _words_of_tests() -> set[str]:
    """Every word in a text of a test, hyphens included."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path != Path(__file__):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= set(re.findall(r"(?<![\w-])[a-z0-9]+(?:-[a-z0-9]+)*(?![\w-])", node.value))
    return found


def test_every_code_is_raised_by_a_test() -> None:
    """Each code on the page is named by a test, which compares it with what the program reports."""
    assert set(_codes_on_page()) - _words_of_tests() == set()


def test_every_code_is_documented_once() -> None:
    """The page lists exactly the codes of the source, each once, with what it means and what to do."""
    listed = _codes_on_page()
    assert len(listed) == len(set(listed))
    assert set(listed) == _codes_in_source()
    assert all(KEBAB.fullmatch(code) for code in listed)
