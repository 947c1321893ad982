"""Completion in shells, and a command line as people expect it: short options, options before the command, sections."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from orchestrator.cli.main import COMMANDS, SECTIONS, cli, run
from orchestrator.cli.suggestions import DIALECTS
from tests.cli.commands import call, write_manifest
from tests.cli.live import Omni, manifest_for
from tests.rehearsal import uuid

MODELS = (
    {"id": uuid(1), "name": "Purchase Orders", "connection": "eu", "tags": ["nightly", "sales"]},
    {"id": uuid(2), "name": "Invoices", "connection": "us", "branch": "dev"},
)


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest in the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(write_manifest(tmp_path, *MODELS))


def suggested(shell: str, line: str, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the program answers a shell, each as `type,value`."""
    words = line.split(" ")
    with monkeypatch.context() as patch:
        patch.setenv("_OMNI_REFRESH_COMPLETE", f"{shell}_complete")
        patch.setenv("COMP_LINE", line)
        patch.setenv("COMP_WORDBREAKS", " \n:=")
        patch.setenv("COMP_WORDS", line)
        patch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words) - 1))
        capfd.readouterr()
        assert run([]) == 0
    out = capfd.readouterr().out.strip()
    if shell == "zsh":
        parts = out.split("\n") if out else []
        return [f"{kind},{value}" for kind, value in zip(parts[::3], parts[1::3], strict=True)]
    return [item.partition("\t")[0] for item in out.split("\n")] if out else []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_is_suggested(shell: str, manifest: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands, options, choices, dialects, files, and selectors of the manifest on the command line."""
    del manifest

    def of(line: str) -> list[str]:
        return suggested(shell, line, capfd, monkeypatch)

    assert of("omni-refresh re") == ["plain,resume", "plain,retry", "plain,report"]
    assert of("omni-refresh -q hist") == ["plain,history"]
    assert of("omni-refresh run m.yaml --dea") == ["plain,--deadline"]
    assert of("omni-refresh run m.yaml --progress o") == ["plain,on", "plain,off"]
    assert of("omni-refresh run m.yaml --dialect ") == [f"plain,{name}" for name in DIALECTS]
    assert of("omni-refresh run m") == ["file,m"]
    assert of("omni-refresh run m.yaml -o r") == ["file,r"]
    assert of("omni-refresh run m.yaml -s In") == ["plain,Invoices"]
    assert of("omni-refresh run m.yaml -s Invoices,t") == ["plain,Invoices,tag:"]
    assert of("omni-refresh run absent.yaml -s x") == []
    assert of("omni-refresh resume x") == ["file,x"]


def test_runs_are_suggested(manifest: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids of earlier runs, of a state folder that is there; completing makes none."""
    del manifest
    folder = Path(os.environ["XDG_STATE_HOME"]) / "omni-refresh"
    assert suggested("bash", "omni-refresh retry ", capfd, monkeypatch) == ["file,"]
    assert not folder.exists()
    monkeypatch.setattr("orchestrator.cli.suggestions._run_ids", lambda: ["20261130T182405-633493"])
    runs = suggested("bash", "omni-refresh retry 2026", capfd, monkeypatch)
    assert runs == ["plain,20261130T182405-633493", "file,2026"]


def test_runs_of_a_state_that_the_environment_names(
    omni: Callable[..., Omni], tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OMNI_REFRESH_STATE` decides which runs those are, as for every command."""
    monkeypatch.setenv("OMNI_REFRESH_STATE", str(tmp_path / "named"))
    assert call(capfd, "run", manifest_for(omni(default_model={"duration": 0.05}), tmp_path, models=1)).code == 0
    (record,) = call(capfd, "history", "--json").document["runs"]
    assert suggested("bash", "omni-refresh retry ", capfd, monkeypatch) == [f"plain,{record['id']}", "file,"]


@pytest.fixture
def environ(manifest: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds the program; the working directory has a manifest."""
    program = tmp_path / "bin" / "omni-refresh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m orchestrator "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(tmp_path / "bin"),
        "TERM": "dumb",
    }


def test_a_real_bash(manifest: Path, environ: dict[str, str], capfd: Any) -> None:
    """Bash breaks words at colons and needs blanks quoted: what it inserts is the rest of the word, as it is typed."""
    script = call(capfd, "completion", "bash").out
    ask = "\n".join(
        [
            script,
            "compopt() { :; }",
            "complete_line() { COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()",
            '_omni_refresh_completion omni-refresh; printf "%s|" "${COMPREPLY[@]}"; echo; }',
            "complete_line 'omni-refresh run m.yaml -s tag:'",
            "complete_line 'omni-refresh run m.yaml -s Pur'",
            "complete_line 'omni-refresh run m.yaml --select=tag:ni'",
            "complete_line 'omni-refresh run m.ya'",
        ]
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], cwd=manifest.parent, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["nightly|sales|", "Purchase\\ Orders|", "nightly|", "m.yaml|"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_a_real_fish(manifest: Path, environ: dict[str, str], capfd: Any) -> None:
    """Fish is asked what it would offer at the end of a line."""
    script = call(capfd, "completion", "fish").out
    lines = ("run m.ya", "run m.yaml -s In", "run m.yaml -s tag:n", "run m.yaml --dea", "his")
    ask = "\n".join([script, *(f"complete --do-complete 'omni-refresh {line}'; echo =" for line in lines)])
    done = subprocess.run(
        ["fish", "--no-config", "-c", ask],
        cwd=manifest.parent,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    offered = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert offered == ["m.yaml", "=", "Invoices", "=", "tag:nightly", "=", "--deadline", "=", "history", "="]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_a_real_zsh(manifest: Path, environ: dict[str, str], capfd: Any) -> None:
    """In a terminal, zsh inserts the rest of the word after a press of the tabulator; a function shows the words that result."""
    (manifest.parent / "script.zsh").write_text(call(capfd, "completion", "zsh").out, encoding="utf-8")
    lines = ("run m.ya", "run m.yaml -s In", "run m.yaml -s Pur", "run m.yaml --dea", "his")
    typed = [
        "unset PROMPT RPROMPT; unsetopt beep; autoload -Uz compinit; compinit -u -D; . ./script.zsh",
        "omni-refresh() { print -r -- ${(q)@} >>words }",
        *(f"omni-refresh {line}\t" for line in lines),
        "exit",
    ]
    master, terminal = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], cwd=manifest.parent, env=environ, stdin=terminal, stdout=terminal, stderr=terminal,
        start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    os.write(master, "".join(f"{line}\n" for line in typed).encode())
    # what the shell draws has to be read, or it would wait
    with suppress(OSError):
        while os.read(master, 4096):
            pass
    os.close(master)
    assert shell.wait(timeout=60) == 0
    words = (manifest.parent / "words").read_text(encoding="utf-8").splitlines()
    assert words == [
        "run m.yaml",
        "run m.yaml -s Invoices",
        "run m.yaml -s Purchase\\ Orders",
        "run m.yaml --deadline",
        "history",
    ]


@pytest.mark.parametrize(
    "args",
    [
        ["-q", "run", "m.yaml", "--simulate"],
        ["--log-format", "json", "--quiet", "run", "m.yaml", "--simulate"],
        ["-qv", "--log-format=json", "run", "m.yaml", "--simulate"],
        ["--no-color", "run", "-q", "m.yaml", "--simulate", "-s", "Invoices", "-x", "-o", "x.json"],
    ],
)
def test_global_options_before_the_command(args: list[str], manifest: Path, capfd: Any) -> None:
    """They mean the same before and after the command; so do the short options."""
    del manifest
    done = call(capfd, *args)
    assert done.code == 0
    assert "start" not in done.err.split()
    assert Path("x.json").exists() is ("-o" in args)


def test_a_command_without_a_log_takes_them_too(capfd: Any) -> None:
    """A global option that a command has no use for is no error before it; one that is unknown is."""
    assert call(capfd, "-q", "schema", "manifest").code == 0
    wrong = call(capfd, "--nonsense", "schema", "manifest")
    assert (wrong.code, "--nonsense" in wrong.err) == (2, True)
    assert call(capfd, "-V").out == call(capfd, "--version").out


def test_help_is_laid_out() -> None:
    """Every command stands in a section of the help; each option of a command does, once; examples name the program."""
    context = click.Context(cli, info_name="omni-refresh")
    text = cli.get_help(context)
    for title in SECTIONS:
        assert f"\n{title}:\n" in text
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        assert f"\n  {name} " in text
        shown = command.get_help(click.Context(command, info_name=f"omni-refresh {name}"))
        assert isinstance(command, click.Group) or f"\n  omni-refresh {name}" in shown or name == "completion"
        for param in command.params:
            if isinstance(param, click.Option):
                assert sum(
                    line.lstrip().startswith(param.opts[-1]) or f", {param.opts[0]}" in line
                    for line in shown.splitlines()
                )
