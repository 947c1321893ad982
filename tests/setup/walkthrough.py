"""A page's commands as a reader types them: in order, in one shell, with the files that the page tells them to save."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import read_page
from tests.house.tree import ROOT, files

_STEP = re.compile(
    r"^## (?P<heading>.+)$|(?P<said>(?:^(?!```|## ).*\n)*)^```(?P<language>\w+)\n(?P<text>[\s\S]*?)^```$", re.MULTILINE
)
_SAVED = re.compile(r"[Ss]ave\b[^.:]*?\bas\s+`(?P<name>[\w.]+)`")
_INSTALLS = re.compile(r"python3 -m venv |pip ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A command of the page, the exit code that it ended with, and what it printed."""

    command: str
    code: int
    printed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page: its language, its text, and the name that the page tells to save it under."""

    language: str
    text: str
    file: str | None


def steps(page: str, *sections: str) -> Iterator[Block]:
    """The blocks of these sections (of all, if none is named), in order."""
    heading = ""
    for match in _STEP.finditer(read_page(page)):
        if match["heading"]:
            heading = match["heading"]
        elif not sections or heading in sections:
            saved = _SAVED.search(match["said"])
            yield Block(language=match["language"], text=match["text"], file=saved["name"] if saved else None)


def commands_of(text: str) -> list[str]:
    """The commands of a console block."""
    return [line.removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines() if line.startswith("$ ")]


def copy_of_the_tree(folder: Path) -> Path:
    """The files of this repository, as a checkout has them."""
    for path in files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder


def walk(
    blocks: Sequence[Block],
    folder: Path,
    *,
    edit: Callable[[str], str] = str,
    environ: Mapping[str, str] | None = None,
    installs: bool = False,
) -> list[Typed]:
    """Type the commands into one shell, with a key on standard input; `edit` changes each command and each saved file.

    Without `installs` the environment of these tests stands in for the one that the page makes.
    """
    if not installs:
        (folder / ".venv").symlink_to(sys.prefix)
    lines = ["{ true; } 2>&1"]
    typed = []
    for number, block in enumerate(blocks):
        if block.file:
            (folder / f"{number}.saved").write_text(edit(block.text), encoding="utf-8")
            lines.append(f"cp {number}.saved {block.file}")
        if block.language != "console":
            continue
        for command in commands_of(block.text):
            if (_INSTALLS.match(command) and not installs) or (command.startswith("jq ") and not shutil.which("jq")):
                continue
            typed.append(command)
            lines += [edit(command), 'printf "\\n\\0%s\\n\\0" "$?"']
    (folder / "walk.sh").write_text("\n".join([*lines, ""]), encoding="utf-8")
    with subprocess.Popen(
        ["bash", "walk.sh"],
        cwd=folder,
        env={**_clean(), **(environ or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            printed = shell.communicate("a-key\n")[0].split("\0")
        except BaseException:
            # a test that has run out of time: what the shell started must end with it
            os.killpg(shell.pid, signal.SIGKILL)
            raise
    return [
        Typed(command=command, code=int(code), printed=text)
        for command, text, code in zip(typed, printed[::2], printed[1::2], strict=False)
    ]


def _clean() -> dict[str, str]:
    """The environment without what an activated environment or a test set."""
    bin_folder = str(Path(sys.prefix) / "bin")
    path = [each for each in os.environ.get("PATH", "").split(os.pathsep) if each != bin_folder]
    left_out = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONASYNCIODEBUG"}
    return {**{k: v for k, v in os.environ.items() if k not in left_out}, "PATH": os.pathsep.join(path)}
