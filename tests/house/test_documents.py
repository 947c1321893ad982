"""What is written about the program is true of the program: versions, commands, options, make targets, examples."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

from orchestrator import __version__
from tests.house.tree import ROOT, files, modules

PROGRAM = "omni-refresh"

DOCUMENTS = [path for path in files() if path.suffix == ".md" and path.parts[0] != "tests"]
CONFIGS = [path for path in files() if path.parts[0] == "configs" and path.suffix in {".yaml", ".yml"}]


def commands(text: str) -> Iterator[list[str]]:
    """The commands in a document's shell blocks, as words; a pipe or `&&` ends one, a backslash goes on. In a `console`
    block what follows no prompt is output.
    """
    for language, block in re.findall(r"^ *```(\w+)[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        if language not in {"console", "sh", "bash", "shell"}:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if language == "console" and not line.lstrip().startswith("$ "):
                continue
            for part in re.split(r"\||&&|;", line.strip().removeprefix("$ ")):
                words = _words(part)
                while words and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
                    words = words[1:]
                if words:
                    yield words


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a program's output, not a command
        return []


def _told(document: Path) -> list[list[str]]:
    return list(commands((ROOT / document).read_text(encoding="utf-8")))


def test_commands_are_found() -> None:
    """The reader of documents sees through prompts, variables, continuations, comments and pipes."""
    text = "```console\n$ KEY=a omni-refresh run \\\n  m.yaml --json | jq .  # why\nomni-refresh says so\n```\n```yaml\nmake: it\n```\n"
    assert list(commands(text)) == [["omni-refresh", "run", "m.yaml", "--json"], ["jq", "."]]


def test_the_version_has_one_home() -> None:
    """The distribution takes its version from the package: no second number has to be kept in step."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    home = (ROOT / project["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert home.count(f'__version__ = "{__version__}"') == 1


def test_the_changelog_knows_the_version() -> None:
    """The version that the package states has its entry in the changelog."""
    assert re.search(
        rf"^## \[{re.escape(__version__)}\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_the_walk_names_each_room() -> None:
    """The walk through the rooms in CONTRIBUTING.md leads through each folder of the package, and through no other."""
    told = set(re.findall(r"^\| `(\w+)/` \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE))
    folders = {module.room for module in modules() if len(module.path.parts) > 2}
    rooms = {module.room for module in modules() if len(module.path.parts) > 2 and module.path.name != "__init__.py"}
    assert rooms <= told <= folders


def test_documented_commands_exist() -> None:
    """Each `omni-refresh` line in a document names a command, and options, that the program has."""
    group = import_module("orchestrator.cli.main").cli
    assert isinstance(group, click.Group)
    wrong: list[str] = []
    for document in DOCUMENTS:
        for words in _told(document):
            if Path(words[0]).name == PROGRAM:
                wrong.extend(f"{document}: {shlex.join(words)}: no {what}" for what in _unknown(group, words[1:]))
    assert not wrong, "\n".join(wrong)


def _unknown(group: click.Group, words: list[str]) -> Iterator[str]:
    """What `words` name that the program does not have: its command, or options of it."""
    context = click.Context(group)
    name = next((word for word in words if word in group.list_commands(context)), None)
    command = group.get_command(context, name) if name is not None else None
    if command is None and any(not word.startswith("-") for word in words):
        yield "such command"
        return
    known = {"--help", "--version"}
    for item in (group, command):
        known.update(name for p in (item.params if item else []) for name in (*p.opts, *p.secondary_opts))
    for word in words:
        if word.startswith("--") and (option := word.partition("=")[0]) not in known:
            yield f"option {option}"


def test_documented_make_targets_exist() -> None:
    """Each `make` line in a document names a target that the Makefile has."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    told = {
        word
        for document in DOCUMENTS
        for words in _told(document)
        if words[0] == "make"
        for word in words[1:]
        if re.fullmatch("[a-z]+", word)
    }
    assert told <= targets


def test_links_lead_somewhere() -> None:
    """A link from a document to a file of this repository leads to a file that is there."""
    lost = [
        f"{document}: {link}"
        for document in DOCUMENTS
        for link in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)[^)]*\)", (ROOT / document).read_text(encoding="utf-8"))
        if not (ROOT / document.parent / link).exists()
    ]
    assert not lost, "\n".join(lost)


def test_every_example_loads() -> None:
    """`check` finds no fault in any example manifest; it is offline, and needs none of the variables that they name."""
    faults = []
    for config in CONFIGS:
        text = (ROOT / config).read_text(encoding="utf-8")
        if re.search(r"^models:", text, re.MULTILINE) and "manifest.schema.json" in text.partition("\n")[0]:
            command = [sys.executable, "-m", "orchestrator", "check", str(config)]
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            faults.extend([f"{config}: {ran.stderr}"] if ran.returncode else [])
    assert not faults, "\n".join(faults)


def test_every_example_names_its_schema() -> None:
    """An example's first line names the JSON Schema that editors check it with: a file of this repository, or a public one
    for a format that is not ours.
    """
    wrong = []
    for config in CONFIGS:
        first = (ROOT / config).read_text(encoding="utf-8").partition("\n")[0]
        named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
        known = named is not None and (named[1].startswith("https://") or (ROOT / config.parent / named[1]).is_file())
        if not known:
            wrong.append(f"{config}:1: {first}")
    assert not wrong, "\n".join(wrong)
