"""The documents match the program: versions, commands, options, files, make targets, examples."""

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
from orchestrator.errors import UsageError
from tests.house.tree import ROOT, files, modules

PROGRAM = "omni-refresh"

DOCUMENTS = [path for path in files() if path.suffix == ".md" and path.parts[0] != "tests"]
CONFIGS = [path for path in files() if path.parts[0] == "configs" and path.suffix in {".yaml", ".yml"}]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands in a document's shell blocks, as words. A pipe, `&&` or a redirection ends one; a backslash
    continues it. In a `console` block, a line without a prompt is output.
    """
    for language, block in re.findall(r"^ *```(\w+)[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        if language not in {"console", "sh", "bash", "shell"}:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if language == "console" and not line.lstrip().startswith("$ "):
                continue
            for part in re.split(r"\||&&|;|\d?>", _hide_quoted(line.strip().removeprefix("$ "))):
                words = [word.translate(_SHOWN) for word in _words(part)]
                while words and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
                    words = words[1:]
                if words:
                    yield words


_HIDDEN = str.maketrans("|&;>", "\ue000\ue001\ue002\ue003")
_SHOWN = {new: old for old, new in _HIDDEN.items()}


def _hide_quoted(line: str) -> str:
    """Replace the shell's operators within quotes, where they are text."""
    return re.sub(r"\"[^\"]*\"|'[^']*'", lambda match: match[0].translate(_HIDDEN), line)


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
    """The walk through the rooms in CONTRIBUTING.md names each folder of the package once, and no other."""
    named = re.findall(r"^\| `(\w+)/` \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = set(named)
    assert len(named) == len(told), "CONTRIBUTING.md lists a room twice: delete a row"
    folders = {module.room for module in modules() if len(module.path.parts) > 2}
    rooms = {module.room for module in modules() if len(module.path.parts) > 2 and module.path.name != "__init__.py"}
    assert rooms <= told <= folders


def _program() -> click.Group:
    group = import_module("orchestrator.cli.main").cli
    assert isinstance(group, click.Group)
    return group


def test_documented_commands_are_parsed() -> None:
    """The program's own parser accepts each `omni-refresh` line in a shell block of a document."""
    wrong = [
        f"{document}: {shlex.join(words)}: {problem}"
        for document in DOCUMENTS
        for words in _told(document)
        if Path(words[0]).name == PROGRAM and (problem := _parse(_program(), words[1:]))
    ]
    assert not wrong, "\n".join(wrong)


def _parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> str | None:
    """Parse a command line without running it; return what is wrong with it."""
    try:
        context = command.make_context(command.name, list(words), parent=parent)
    except click.exceptions.Exit:
        return None
    except click.UsageError as error:
        return error.format_message()
    except UsageError as error:
        return str(error)
    if not isinstance(command, click.Group):
        return None
    name = next((word for word in words if word in command.list_commands(context)), None)
    inner = None if name is None else command.get_command(context, name)
    if name is None or inner is None:
        return f"no command in {words}"
    return _parse(inner, words[words.index(name) + 1 :], context)


def test_a_wrong_command_is_found() -> None:
    """The parser names a command, an option, a value and an argument that do not fit."""
    for line in ("run", "rn m.yaml", "run m.yaml --jsn", "run m.yaml --rate none", "state", "history --limit 0"):
        assert _parse(_program(), line.split()), line
    for line in ("--help", "run m.yaml --json", "state reset"):
        assert _parse(_program(), line.split()) is None, line


def test_mentioned_commands_exist() -> None:
    """Each `omni-refresh ...` in the running text of a document names a command, and options, that the program has."""
    wrong = [
        f"{document}: {code}: no {what}"
        for document in DOCUMENTS
        for code in re.findall(r"`omni-refresh ([^`\n]+)`", (ROOT / document).read_text(encoding="utf-8"))
        if not code.startswith("COMMAND")
        for what in _unknown(_program(), _words(code))
    ]
    assert not wrong, "\n".join(wrong)


def test_files_that_documents_name_exist() -> None:
    """A path of this repository that a document writes as code is there; words in capitals stand for a name."""
    code = re.compile(r"`((?:orchestrator|tests|docs|configs|benchmarks|requirements)/[\w./*-]*)`")
    lost = [
        f"{document}: {path}"
        for document in DOCUMENTS
        if document.name != "CHANGELOG.md"
        for path in code.findall((ROOT / document).read_text(encoding="utf-8"))
        if not re.search("[A-Z]{3}", path) and not any(ROOT.glob(path.rstrip("/")))
    ]
    assert not lost, "\n".join(lost)


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
