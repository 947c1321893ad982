"""How the code is laid out: small rooms, telling names, promises in docstrings, time and output handed in."""

import ast
from collections.abc import Iterator

from tests.house.tree import PACKAGE, ROOT, files, modules

MAX_LINES = 600
DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc", "models", "types", "base", "tools", "stuff", "lib"}

CLOCKS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.sleep"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("random.random", "random.uniform", "random.randint", "random.choice", "random.shuffle", "random.gauss"),
    *("random.seed", "random.expovariate"),
}
"""Clocks and dice by name. Logic is handed a clock and a `random.Random`; only the rooms below pick them."""

PICKS_CLOCKS = {"clock", "cli"}
PRINTS = {"cli"}

EXCUSES = ("type: ignore", "noqa", "pragma: no cover", "mypy: ")
EXCUSED: dict[str, int] = {}
"""Files that need an excuse to a tool, and how many: {"orchestrator/x/y.py": 1}, with the reason beside it there."""

OPEN_ENDS = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "NotImplemented" + "Error")


def test_no_file_is_two_rooms() -> None:
    """A Python file has at most 600 lines; what is longer is two things under one name."""
    long = {str(m.path): n for m in modules(PACKAGE, "tests", "benchmarks") if (n := m.text.count("\n")) > MAX_LINES}
    assert not long


def test_no_drawers() -> None:
    """No file or folder has a name for whatever does not fit elsewhere: nouns live where they are born."""
    names = {part for path in files() if path.suffix == ".py" for part in path.with_suffix("").parts}
    assert not names & DRAWERS


def _public(node: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public classes, functions and methods in `node`; what is nested in a function is private."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


def _is_spoken_for(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether another piece of the same thing carries the docstring: a property's getter, an overload's body."""
    marks = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(marks & {"overload", "override", "setter", "deleter"})


def test_what_is_public_says_what_it_promises() -> None:
    """Every module, public class, function and method has a docstring; a method may inherit it within its module."""
    silent = [f"{m.path}: the module" for m in modules() if m.syntax.body and ast.get_docstring(m.syntax) is None]
    for module in modules():
        public = list(_public(module.syntax))
        documented = {node.name for node in public if ast.get_docstring(node)}
        silent.extend(
            f"{module.path}:{node.lineno}: {node.name}"
            for node in public
            if node.name not in documented and not _is_spoken_for(node)
        )
    assert not silent, "\n".join(silent)


def test_every_test_says_what_it_promises() -> None:
    """A test has a docstring: the promise that is broken when it fails."""
    silent = [
        f"{module.path}:{node.lineno}: {node.name}"
        for module in modules("tests")
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and ast.get_docstring(node) is None
    ]
    assert not silent, "\n".join(silent)


def test_only_the_command_line_prints() -> None:
    """`print` stands in the command line's room alone: what a library says goes to its caller or to the log."""
    loud = [
        f"{module.path}:{node.lineno}"
        for module in modules()
        if module.room not in PRINTS
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not loud


def test_time_and_chance_are_handed_in() -> None:
    """No logic calls a clock or rolls dice by name: with both as parameters every run can be played again."""
    wrong = [
        f"{module.path}:{node.lineno}: {name}"
        for module in modules()
        if module.room not in PICKS_CLOCKS
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        for name in [".".join(ast.unparse(node.func).split(".")[-2:])]
        if name in CLOCKS
    ]
    wrong += [
        f"{module.path}:{imported.line}: {imported.module}.{imported.name}"
        for module in modules()
        if module.room not in PICKS_CLOCKS
        for imported in module.imports
        if f"{imported.module}.{imported.name}" in CLOCKS
    ]
    assert not wrong, "\n".join(wrong)


def test_no_excuses_to_tools() -> None:
    """No file tells a tool to look away, but for those that are listed above with their count."""
    counts = {
        str(module.path): sum(line.count("# " + excuse) for line in module.text.splitlines() for excuse in EXCUSES)
        for module in modules(PACKAGE, "tests", "benchmarks")
    }
    assert {path: count for path, count in counts.items() if count} == EXCUSED


def test_nothing_is_left_open() -> None:
    """No file announces work to be done: what is not built is not in the code."""
    open_ends = [
        f"{module.path}:{number}: {line.strip()}"
        for module in modules(PACKAGE, "tests", "benchmarks")
        for number, line in enumerate(module.text.splitlines(), 1)
        if any(word in line for word in OPEN_ENDS)
    ]
    assert not open_ends, "\n".join(open_ends)


def test_no_test_is_switched_off() -> None:
    """No test is expected to fail, and a skipped one names what it misses on this machine (`skipif`, `importorskip`)."""
    off = [
        f"{module.path}:{node.lineno}"
        for module in modules("tests")
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in {"pytest.mark.skip", "pytest.mark.xfail", "pytest.xfail"}
    ]
    assert not off


def test_the_package_is_typed() -> None:
    """The marker that tells type checkers to believe the package's annotations is there."""
    assert (ROOT / PACKAGE / "py.typed").is_file()
