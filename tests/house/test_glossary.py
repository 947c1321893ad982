"""The glossary holds the nouns that the code uses across packages."""

import ast
import re
from typing import get_args

from orchestrator.engine.events import RunEvent
from tests.house.tree import ROOT, modules, rooms_of

AT_LEAST = 3
"""A type that so many other packages import is a word that everyone meets."""


def _terms() -> set[str]:
    text = (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8")
    return {term.lower() for term in re.findall(r"^\| \*\*([^*]+)\*\*", text, re.MULTILINE)}


def _words(name: str) -> list[str]:
    """Return the words of a type's name: `call`, `request` of `CallRequest`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower().split()


def _types() -> dict[str, str]:
    """Return the package of each public type, by its name; without exceptions and events, which have tables of their own."""
    homes = {}
    events = {event.__name__ for event in get_args(RunEvent)}
    for module in modules():
        if module.room is None:
            continue
        for node in module.syntax.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                bases = {ast.unparse(base) for base in node.bases}
                if not any(base.endswith(("Error", "Exception")) for base in bases) and node.name not in events:
                    homes[node.name] = module.room
    return homes


def test_the_glossary_holds_the_nouns_of_the_code() -> None:
    """The name of a type that three other packages import, or the last word of it, is a term of the glossary."""
    homes = _types()
    users: dict[str, set[str]] = {name: set() for name in homes}
    for module in modules():
        for imported in module.imports:
            name = imported.name or ""
            if module.room not in {None, homes.get(name)} and name in homes and homes[name] == rooms_of(imported):
                users[name].add(str(module.room))
    terms = _terms()
    missing = [
        name
        for name, rooms in users.items()
        if len(rooms) >= AT_LEAST and " ".join(_words(name)) not in terms and _words(name)[-1] not in terms
    ]
    assert not missing


def test_the_glossary_is_in_order() -> None:
    """Each term stands once, in alphabetical order."""
    text = (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8")
    terms = [term.lower() for term in re.findall(r"^\| \*\*([^*]+)\*\*", text, re.MULTILINE)]
    assert terms == sorted(set(terms), key=lambda term: term.replace(",", ""))
