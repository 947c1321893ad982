"""Which room may import which: data goes one way, and each library has one owner."""

import ast
import re
import sys
import tomllib

import pytest

from tests.house.tree import PACKAGE, ROOT, modules, rooms_of

MAY_IMPORT: dict[str, set[str]] = {
    # Every room may use these. They import nothing of the package.
    "errors": set(),
    "clock": set(),
    "durations": set(),
    "text": set(),
    "input_file": set(),
    "log": set(),
    # What people write. It knows no server.
    "manifest": {"errors", "durations", "text", "input_file"},
    # Values as JSON data and back, by the types of their fields. It knows which type is a secret.
    "values": {"manifest"},
    # What a migration changed. It knows neither the models that read it nor how they are refreshed.
    "changes": {"errors", "text", "input_file"},
    # The API client: one request, one answer. It knows addresses and keys, not plans.
    "omni": {"errors", "text", "log", "manifest"},
    # What a run will do, as a value, from answers that are passed in. It sends nothing itself.
    "planning": {"errors", "text", "manifest", "changes", "omni"},
    # The rate limiter: which call is next. It knows a key and its limit, not what is called.
    "quota": {"errors", "manifest"},
    # What was sent and what the result was, in words of its own: the engine records into it, not the other way round.
    "journal": {"errors", "clock", "manifest", "values", "planning", "quota"},
    # Runs a plan: the one place where plan, API, rate limiter and journal meet.
    "engine": {"errors", "clock", "text", "manifest", "values", "planning", "omni", "quota", "journal"},
    # Reads an instance without a refresh.
    "survey": {
        "errors",
        "durations",
        "text",
        "manifest",
        "changes",
        "values",
        "planning",
        "omni",
        "quota",
        "engine",
    },
    # Outcomes to text. It reads values, and sends nothing.
    "report": {"errors", "text", "values", "engine"},
    # Messages about a report. It sends to any service except an Omni instance.
    "notify": {"errors", "text", "log", "manifest", "values", "omni", "engine", "report"},
    # The simulated instance must not share the client's idea of the API: it would make the same mistakes.
    "simulator": {"errors", "input_file", "manifest"},
    # The use cases: one request in, one value out. It connects the rooms, prints nothing, and knows no command line.
    "app": {
        *(
            "errors",
            "clock",
            "durations",
            "input_file",
            "log",
            "manifest",
            "text",
            "values",
            "changes",
            "omni",
            "planning",
            "quota",
            "journal",
            "engine",
        ),
        *("survey", "report", "notify", "simulator"),
    },
    # The public functions: arguments to requests. An adapter like the command line.
    "api": {"durations", "errors", "manifest", "changes", "planning", "engine", "survey", "report", "app"},
    # Airflow's operator: a task to a request, a report to what tasks read. An adapter like the command line.
    "airflow": {
        "clock",
        "durations",
        "errors",
        "manifest",
        "quota",
        "journal",
        "engine",
        "report",
        "app",
        "api",
    },
    # Text for people: results and events to tables, lines and the live display. It starts nothing.
    "terminal": {
        *("errors", "clock", "text", "log", "manifest", "changes", "planning", "quota", "engine", "survey", "report"),
    },
    # The command line: arguments to requests, ends to exit codes.
    "cli": {
        *("errors", "input_file", "durations", "text", "log", "manifest", "changes", "planning", "journal", "engine"),
        *("survey", "report", "simulator", "app", "terminal"),
    },
}
"""The rooms in order: each may import only from the rooms listed, which come before it."""

OWNERS: dict[str, set[str]] = {
    "aiohttp": {"omni", "simulator"},  # the client, and the server; see below
    "aiolimiter": {"quota"},
    "airflow": {"airflow"},
    "apprise": {"notify"},
    "click": {"cli"},
    "filelock": {"journal"},
    "jinja2": {"report"},
    "platformdirs": {"journal"},
    "psycopg": {"journal"},
    "pydantic": {"simulator"},
    "rich": {"report", "terminal"},
    "sqlite3": {"journal"},
    "structlog": {"log"},
    "yaml": {"manifest"},
    "yarl": {"omni"},  # the client's addresses
}
"""The rooms that may import a library. The others do not know it, so that it can be replaced."""

TYPING_ONLY = {"_typeshed"}


def test_every_room_has_its_place() -> None:
    """The table lists exactly the rooms that exist, each with what it may import and why."""
    assert {module.room for module in modules()} - {None} == set(MAY_IMPORT)


def test_the_table_goes_one_way() -> None:
    """A room may import only rooms that come before it in the table, so that no ring of imports is possible."""
    rooms = list(MAY_IMPORT)
    for position, (room, known) in enumerate(MAY_IMPORT.items()):
        assert known <= set(rooms[:position]), f"{room} may import only what comes before it"


def test_imports_go_one_way() -> None:
    """No module imports from a room that its own room may not import, at the top, in a function or for types alone."""
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


def test_every_permission_is_used() -> None:
    """The table allows only what some module does: a permission that no import needs is deleted."""
    used: dict[str, set[str]] = {room: set() for room in MAY_IMPORT}
    for module in modules():
        if module.room is not None:
            used[module.room].update(room for imported in module.imports if (room := rooms_of(imported)) is not None)
    unused = {room: sorted(known - used[room]) for room, known in MAY_IMPORT.items() if known - used[room]}
    assert not unused


def test_every_owner_uses_its_library() -> None:
    """Each owner of a library imports it, and each library in the table has an owner."""
    used = {(imported.top, module.room) for module in modules() for imported in module.imports}
    stale = [f"{room}: {library}" for library, rooms in OWNERS.items() for room in rooms if (library, room) not in used]
    assert not stale
    assert all(OWNERS.values())


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
    return _names()


def _names(*left_out: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name not in left_out]
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in lines}


def test_every_library_is_declared() -> None:
    """What the package imports is named in pyproject.toml: nothing is there by luck, as another's dependency."""
    by_import_name = {"yaml": "pyyaml", "airflow": "apache-airflow-task-sdk"}
    used = {imported.top for module in modules() for imported in module.imports}
    libraries = used - set(sys.stdlib_module_names) - {PACKAGE, *TYPING_ONLY}
    assert {by_import_name.get(name, name) for name in libraries} <= _declared()


@pytest.mark.parametrize("lock", ["dev", "runtime"])
def test_every_dependency_is_pinned(lock: str) -> None:
    """The lock holds each declared dependency in one version with its hashes, and names no address to fetch from. Users of
    the extra `airflow` have an Airflow of their own.
    """
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([\w-]+)==\S+(?: ; [^\n]+)? \\\n +--hash=sha256:", text, re.MULTILINE))
    assert _names("airflow") <= pinned
    assert "://" not in text
