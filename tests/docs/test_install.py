"""What is said about installing the program works from a checkout, and for a lock only in the way that lasts."""

import re

from tests.house.tree import ROOT, files

_TEXTS = {
    str(path): (ROOT / path).read_text(encoding="utf-8")
    for path in files()
    if path.suffix in {".md", ".py", ".yaml", ".yml", ""} and path.parts[0] != "tests"
}
_LOCK_INSTALL = re.compile(r"^.*\bpip\b.*\binstall\b.*(?:\brequirements/\w+\.txt|--requirement)\b.*$", re.MULTILINE)


def _lock_installs(text: str) -> list[str]:
    return _LOCK_INSTALL.findall(text.replace("\\\n", " ").replace("$(PIP)", "pip"))


def test_a_lock_is_installed_without_a_resolver() -> None:
    """Each command in a page or a script that installs a lock takes exactly what is in it: no resolver, every hash."""
    found = {path: lines for path, text in _TEXTS.items() if (lines := _lock_installs(text))}
    assert {"README.md", "SECURITY.md", "Makefile", "docs/tutorial/first-run.md", "action.yml"} <= set(found)
    assert {"configs/gitlab/after-migration.yml", "configs/azure/nightly.yml"} <= set(found)
    wrong = [
        f"{path}: {line}"
        for path, lines in found.items()
        for line in lines
        if "--no-deps" not in line or "--require-hashes" not in line
    ]
    assert not wrong, "\n".join(wrong)


def test_the_search_finds_lock_installs() -> None:
    """A lock's install is found in each way to write it."""
    for line in ("$ .venv/bin/pip install -r requirements/dev.txt", "run: pip install \\\n  --requirement x.txt"):
        assert len(_lock_installs(line)) == 1
    assert not _lock_installs("$ pip install --no-deps .")


_UNPUBLISHED = re.compile(r"pip3?\b[^\n`]*\binstall\b[^\n`]*?(?<![\w./-])[\"']?omni-refresh(?![\w/.-])")


def test_nothing_installs_the_program_from_an_index() -> None:
    """No page and no message says `pip install omni-refresh`: the program is on no public index, and another's might be."""
    found = [f"{path}: {match[0]}" for path, text in _TEXTS.items() for match in _UNPUBLISHED.finditer(text)]
    assert not found, "\n".join(found)


def test_the_search_finds_installs_from_an_index() -> None:
    """An install by the program's name is found in each way to write it; one from a folder is none."""
    name = "omni-" + "refresh"
    for line in (f"pip install {name}", f'pip install "{name}[notify]"', f"$ .venv/bin/pip install -U {name}==1"):
        assert _UNPUBLISHED.search(line)
    for line in (
        "pip install --no-deps ./omni-refresh",
        "pip install .",
        "pip install -r omni-refresh/requirements/runtime.txt",
    ):
        assert not _UNPUBLISHED.search(line)
