"""Who may import whom: data goes one way, and each library has one owner."""

import ast
import re
import sys
import tomllib

import pytest

from tests.house.tree import PACKAGE, ROOT, modules, rooms_of

MAY_IMPORT: dict[str, set[str]] = {
    # Known to all, knowing nobody.
    "errors": set(),
    "clock": set(),
    "durations": set(),
    "text": set(),
    "input_file": set(),
    "log": {"errors", "text"},
    # What people write. It knows of no server.
    "manifest": {"errors", "durations", "text", "input_file"},
    # What a migration touched: it knows neither who reads that nor how it will be refreshed.
    "changes": {"errors", "text", "input_file"},
    # The API: one question, one answer. It knows of addresses and keys, not of plans.
    "omni": {"errors", "clock", "durations", "text", "log", "manifest"},
    # What will be done, as a value: questions to the API, and answers of it that were handed in. It asks nothing itself.
    "planning": {"errors", "durations", "text", "manifest", "changes", "omni"},
    # The door: who goes next. It knows a key and its limit, and nothing of what is called.
    "quota": {"errors", "clock", "durations", "log", "manifest"},
    # What was sent and what came of it, in its own words: the run records into it, not the other way round.
    "journal": {"errors", "clock", "durations", "text", "log", "manifest", "planning", "quota"},
    # The life of a refresh: the one place where plan, API, door and journal meet.
    "engine": {"errors", "clock", "durations", "text", "log", "manifest", "planning", "omni", "quota", "journal"},
    # What is known of an instance without refreshing anything: it reads as a run does, and sends no refresh.
    "survey": {"errors", "clock", "durations", "text", "log", "manifest", "planning", "omni", "quota", "engine"},
    # Outcomes to text. It reads values, and sends nothing.
    "report": {"errors", "durations", "text", "input_file", "manifest", "changes", "planning", "engine"},
    # Who is told of a report. It sends, to anybody but an Omni instance.
    "notify": {"errors", "log", "text", "manifest", "omni", "engine", "report"},
    # The stand-in must not share the client's idea of the API: it would make the same mistakes. YAML it reads as all do.
    "simulator": {"errors", "clock", "durations", "text", "input_file", "log", "manifest"},
    # The use cases: one request in, one value out. It wires the rooms, prints nothing, and knows of no command line.
    "app": {
        *("errors", "clock", "durations", "text", "input_file", "log"),
        *(
            "manifest",
            "changes",
            "omni",
            "planning",
            "quota",
            "journal",
            "engine",
            "survey",
            "report",
            "notify",
            "simulator",
        ),
    },
    # The public functions: arguments to requests. An adapter like the command line.
    "api": {"durations", "errors", "log", "manifest", "report", "engine", "app"},
    # The command line: arguments to requests, values to text, and exit codes.
    "cli": {
        *("errors", "clock", "durations", "text", "input_file", "log"),
        *(
            "manifest",
            "changes",
            "omni",
            "planning",
            "quota",
            "journal",
            "engine",
            "survey",
            "report",
            "simulator",
            "app",
        ),
    },
}
"""The rooms in their order: each may import only from rooms that stand before it."""

OWNERS: dict[str, set[str]] = {
    "aiohttp": {"omni", "simulator"},  # the client, and the server; see below
    "aiolimiter": {"quota"},
    "apprise": {"notify"},
    "click": {"cli"},
    "filelock": {"journal"},
    "jinja2": {"report"},
    "platformdirs": {"journal"},
    "pydantic": {"manifest", "simulator"},  # both read what people write
    "pydantic_core": {"manifest", "simulator"},
    "rich": {"report", "cli"},
    "sqlite3": {"journal"},
    "structlog": {"log"},
    "yaml": {"manifest"},
    "yarl": {"omni"},  # the client's addresses
}
"""Who may import a library: the rest of the house does not know that it exists, and it can be replaced."""

TYPING_ONLY = {"_typeshed"}


def test_every_room_has_its_place() -> None:
    """A new room is written into the table above, with what it may know and why."""
    assert {module.room for module in modules()} - {None} <= set(MAY_IMPORT)


def test_the_table_goes_one_way() -> None:
    """A room may know only rooms that stand before it in the table: no ring of imports is possible."""
    rooms = list(MAY_IMPORT)
    for position, (room, known) in enumerate(MAY_IMPORT.items()):
        assert known <= set(rooms[:position]), f"{room} may know only what stands before it"


def test_imports_go_one_way() -> None:
    """No module reaches into a room that its own room may not know, at the top, in a function or for types alone."""
    wrong = [
        f"{module.path}:{imported.line}: {module.room} may not import {room}"
        for module in modules()
        if module.room is not None
        for imported in module.imports
        if (room := rooms_of(imported)) is not None and room not in {module.room, *MAY_IMPORT[module.room]}
    ]
    assert not wrong, "\n".join(wrong)


def test_the_package_itself_imports_nothing() -> None:
    """`import orchestrator` imports no room and no library; its names are imported when they are used, or for types."""
    (package,) = [module for module in modules() if module.path.name == "__init__.py" and len(module.path.parts) == 2]
    tree = ast.parse((ROOT / package.path).read_text(encoding="utf-8"))
    at_once = {
        name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert at_once == {"__future__", "importlib", "typing"}


def test_imports_are_absolute() -> None:
    """Every import is written in full, so that a search for a module's name finds each of its users."""
    relative = [
        f"{module.path}:{imported.line}"
        for module in modules(PACKAGE, "tests", "benchmarks")
        for imported in module.imports
        if not imported.module
    ]
    assert not relative


def test_each_library_has_its_owner() -> None:
    """A third-party library, and sqlite3, is imported in the rooms that own it and nowhere else."""
    wrong = [
        f"{module.path}:{imported.line}: {imported.module} is not for {module.room}"
        for module in modules()
        for imported in module.imports
        if (imported.top not in sys.stdlib_module_names or imported.top in OWNERS)
        and imported.top not in {PACKAGE, *TYPING_ONLY}
        and module.room not in OWNERS.get(imported.top, set())
    ]
    assert not wrong, "\n".join(wrong)


def test_client_and_server_of_aiohttp_are_apart() -> None:
    """The client room never touches aiohttp's server, and the simulator never its client; the errors of HTTP are both's."""
    wrong = [
        f"{module.path}:{imported.line}"
        for module in modules()
        for imported in module.imports
        if imported.top == "aiohttp"
        and imported.module != "aiohttp.http_exceptions"
        and (imported.name == "web" or imported.module.startswith("aiohttp.web")) is not (module.room == "simulator")
    ]
    assert not wrong, "\n".join(wrong)


def _declared() -> set[str]:
    """The distributions that pyproject.toml names as dependencies, extras among them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    return {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in lines}


def test_every_library_is_declared() -> None:
    """What the package imports is named in pyproject.toml: nothing is there by luck, as another's dependency."""
    by_import_name = {"yaml": "pyyaml", "pydantic_core": "pydantic"}
    used = {imported.top for module in modules() for imported in module.imports}
    libraries = used - set(sys.stdlib_module_names) - {PACKAGE, *TYPING_ONLY}
    assert {by_import_name.get(name, name) for name in libraries} <= _declared()


@pytest.mark.parametrize("lock", ["dev", "runtime"])
def test_every_dependency_is_pinned(lock: str) -> None:
    """The lock holds each declared dependency in one version with its hashes, and names no address to fetch from."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([\w-]+)==\S+(?: ; [^\n]+)? \\\n +--hash=sha256:", text, re.MULTILINE))
    assert _declared() <= pinned
    assert "://" not in text
