"""Every diagnostic code is documented, and asserted by a test."""

import ast
import re
from collections.abc import Iterator
from itertools import chain
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
            found.update(text for value in values if value is not None for text in _texts(value))
    return found


def _texts(value: ast.expr) -> Iterator[str]:
    """The texts that an expression may give: itself, or either branch of a choice."""
    match value:
        case ast.Constant(value=str(text)) if text:
            yield text
        case ast.IfExp(body=first, orelse=second):
            yield from (*_texts(first), *_texts(second))
        case ast.BoolOp(values=each):
            yield from chain.from_iterable(map(_texts, each))
        case _:
            pass


def test_the_search_finds_both_codes_of_a_choice() -> None:
    """A code that depends on a condition is a code."""
    value = ast.parse("'one' if a else b or 'two'", mode="eval").body
    assert list(_texts(value)) == ["one", "two"]


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
