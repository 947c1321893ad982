"""How the code is laid out: names of files, docstrings, and time, randomness and output as parameters."""

import ast
from collections.abc import Iterable, Iterator

from tests.house.tree import PACKAGE, ROOT, files, modules

MAX_LINES = 600
DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc", "base", "tools", "stuff", "lib"}

CLOCKS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.sleep"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("random.random", "random.uniform", "random.randint", "random.choice", "random.shuffle", "random.gauss"),
    *("random.seed", "random.expovariate"),
}
"""Clocks and random generators by name. Code takes a clock and a `random.Random` as parameters; only these rooms create them:"""

PICKS_CLOCKS = {"clock", "terminal", "cli"}

EXCUSES = ("type: ignore", "noqa", "pragma: no cover", "mypy: ")
EXCUSED: dict[str, int] = {}
"""Files that need a suppression, and how many: {"orchestrator/x/y.py": 1}. The reason is beside it in the file."""

OPEN_ENDS = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "NotImplemented" + "Error")


def test_no_file_is_too_long() -> None:
    """A Python file has at most 600 lines: a longer file holds two ideas."""
    long = {str(m.path): n for m in modules(PACKAGE, "tests", "benchmarks") if (n := m.text.count("\n")) > MAX_LINES}
    assert not long


def test_file_names_say_what_is_in_them() -> None:
    """No file or folder is called `utils` or the like. `types.py` and `errors.py` may hold a package's vocabulary."""
    names = {part for path in files() if path.suffix == ".py" for part in path.with_suffix("").parts}
    assert not names & DRAWERS


def _public(node: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the public classes, functions and methods in `node`; what is nested in a function is private."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


def _has_docstring_elsewhere(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether another definition has the docstring: a property's getter, an overload's body."""
    marks = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(marks & {"overload", "override", "setter", "deleter"})


def test_everything_public_has_a_docstring() -> None:
    """Every module, public class, function and method has a docstring; a method may inherit it within its module."""
    silent = [f"{m.path}: the module" for m in modules() if m.syntax.body and ast.get_docstring(m.syntax) is None]
    for module in modules():
        public = list(_public(module.syntax))
        documented = {node.name for node in public if ast.get_docstring(node)}
        silent.extend(
            f"{module.path}:{node.lineno}: {node.name}"
            for node in public
            if node.name not in documented and not _has_docstring_elsewhere(node)
        )
    assert not silent, "\n".join(silent)


def test_every_test_says_what_it_promises() -> None:
    """A test has a docstring: the promise that is broken when it fails."""
    silent = [
        f"{module.path}:{node.lineno}: {node.name}"
        for module in modules("tests")
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and ast.get_docstring(node) is None
    ]
    assert not silent, "\n".join(silent)


def test_nothing_calls_print() -> None:
    """No code calls `print`: a library returns values or writes to the log, and `terminal` writes to the streams."""
    loud = [
        f"{module.path}:{node.lineno}"
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not loud


def test_time_and_randomness_are_parameters() -> None:
    """No code calls a clock or a random generator by name. So a test can repeat every run exactly."""
    wrong = [
        f"{module.path}:{node.lineno}: {name}"
        for module in modules()
        if module.room not in PICKS_CLOCKS
        for node in module.nodes
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


def test_no_suppressions_of_tools() -> None:
    """No file suppresses a tool's finding, except those that are listed above with their count."""
    counts = {
        str(module.path): sum(line.count("# " + excuse) for line in module.text.splitlines() for excuse in EXCUSES)
        for module in modules(PACKAGE, "tests", "benchmarks")
    }
    assert {path: count for path, count in counts.items() if count} == EXCUSED


def test_nothing_is_unfinished() -> None:
    """No file announces work to be done."""
    open_ends = [
        f"{module.path}:{number}: {line.strip()}"
        for module in modules(PACKAGE, "tests", "benchmarks")
        for number, line in enumerate(module.text.splitlines(), 1)
        if any(word in line for word in OPEN_ENDS)
    ]
    assert not open_ends, "\n".join(open_ends)


def test_no_test_is_disabled_without_a_reason() -> None:
    """A test is skipped only if the machine lacks something (`skipif`, `importorskip`); `xfail` needs a reason and is strict."""
    disabled = [f"{module.path}:{line}" for module in modules("tests") for line in _disabled(module.nodes)]
    assert not disabled


def _disabled(nodes: Iterable[ast.AST]) -> Iterator[int]:
    """Yield the lines of the marks that disable a test without a reason."""
    with_reason: set[int] = set()
    marks: list[ast.Attribute] = []
    for node in nodes:
        if isinstance(node, ast.Call) and any(k.arg == "reason" for k in node.keywords):
            with_reason.add(id(node.func))
        elif isinstance(node, ast.Attribute):
            marks.append(node)
    for mark in marks:
        name = ast.unparse(mark)
        if name == "pytest.mark.skip" or (
            name in {"pytest.mark.xfail", "pytest.xfail"} and id(mark) not in with_reason
        ):
            yield mark.lineno


def test_an_expected_failure_needs_a_reason() -> None:
    """`xfail` with a reason is allowed; without one, and `skip` in any form, it is found."""
    marks = {
        "@pytest.mark.xfail(reason='a known bug of the server')": [],
        "@pytest.mark.xfail": [1],
        "@pytest.mark.xfail(strict=True)": [1],
        "@pytest.mark.skip(reason='slow')": [1],
        "@pytest.mark.skipif(no_server, reason='needs a server')": [],
    }
    for mark, lines in marks.items():
        assert list(_disabled(ast.walk(ast.parse(f"{mark}\ndef test_x(): ...")))) == lines, mark


def test_the_package_is_typed() -> None:
    """The marker file `py.typed` exists, so that type checkers use the package's annotations."""
    assert (ROOT / PACKAGE / "py.typed").is_file()
