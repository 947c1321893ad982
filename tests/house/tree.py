"""The repository as the house rules read it: its files, and each module with its room, its imports and its syntax tree."""

import ast
import functools
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "orchestrator"

_LEFT_OUT = {
    *(".git", ".venv", ".venv-airflow", ".venv-package", "build", "dist", "htmlcov", "__pycache__"),
    *(".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
}


_REPORT = "omni-refresh-report."
"""What runs leave in the working directory, as .gitignore has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module: its dotted name in full, the name taken from it (None for `import x`), its line."""

    module: str
    name: str | None
    line: int

    @property
    def top(self) -> str:
        """The distribution's import name: `aiohttp` of `aiohttp.web`."""
        return self.module.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Module:
    """A Python file of this repository: `path` from the root, its text, its syntax tree, and all nodes of the tree."""

    path: Path
    text: str
    syntax: ast.Module
    nodes: tuple[ast.AST, ...]

    @property
    def room(self) -> str | None:
        """The room in the package that the module belongs to; None outside of it and for `__init__` and `__main__`."""
        parts = self.path.with_suffix("").parts
        return parts[1] if parts[0] == PACKAGE and not parts[1].startswith("__") else None

    @property
    def imports(self) -> tuple[Import, ...]:
        """Every import: at the top, in a function, for the type checker alone, or by `import_module` and a literal name."""
        return _imports_of(self)


@functools.cache
def _imports_of(module: Module) -> tuple[Import, ...]:
    return tuple(_imports(module.nodes))


def _imports(nodes: Iterable[ast.AST]) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module=alias.name, name=None, line=node.lineno)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(module=node.module or "", name=alias.name, line=node.lineno)
        elif isinstance(node, ast.Call):
            match node.func, node.args:
                case (
                    ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                    [ast.Constant(value=str(name)), *_],
                ):
                    yield Import(module=name, name=None, line=node.lineno)


def rooms_of(imported: Import) -> str | None:
    """The room that an import reaches into; None if it reaches into none (`from orchestrator import __version__`)."""
    parts = imported.module.split(".")
    if parts[0] != PACKAGE:
        return None
    if len(parts) > 1:
        return parts[1]
    return None if imported.name is None or imported.name.startswith("__") else imported.name


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file of the repository, from its root: what git knows or would add; without git, what lies there."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        found = [Path(name) for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        found = [path for path in found if not _LEFT_OUT.intersection(path.parts) and not path.name.startswith(_REPORT)]
    return tuple(sorted(path for path in found if (ROOT / path).is_file()))


def modules(*folders: str) -> tuple[Module, ...]:
    """Return the Python files under `folders` (without any, those of the package)."""
    return tuple(_module(path) for path in files() if path.suffix == ".py" and path.parts[0] in (folders or (PACKAGE,)))


@functools.cache
def _module(path: Path) -> Module:
    text = (ROOT / path).read_text(encoding="utf-8")
    syntax = ast.parse(text, filename=str(path))
    return Module(path=path, text=text, syntax=syntax, nodes=tuple(ast.walk(syntax)))
