"""Writes what the command line says of itself into docs/reference/cli.md, between two marks.

`python -m tests.docs.cli_reference` brings the page up to date; `test_cli_reference` holds it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import click

from tests.house.tree import ROOT

PAGE = ROOT / "docs/reference/cli.md"
BEGIN = "<!-- begin: written by python -m tests.docs.cli_reference -->\n"
END = "<!-- end -->\n"


def program() -> click.Group:
    """The group of all commands."""
    group = import_module("orchestrator.cli.main").cli
    assert isinstance(group, click.Group)
    return group


def render_commands(group: click.Group) -> str:
    """The commands as Markdown: a table of all, then each with its usage, its text and its options."""
    context = click.Context(group, info_name="omni-refresh")
    parts = ["| command | |", "|---|---|"]
    sections: list[str] = []
    for name, command in each_command(group, context):
        within = click.Context(command, info_name=f"omni-refresh {name}")
        paragraphs = [" ".join(text.split()) for text in (command.help or "").split("\n\n")]
        anchor = name.replace(" ", "-")
        parts.append(f"| [`{name}`](#{anchor}) | {_cell(paragraphs[0])} |")
        sections += ["", f"### {name}", "", "```text", _usage(command, within), "```", ""]
        sections += ["\n\n".join(paragraphs), ""]
        if examples := getattr(command, "examples", ()):
            sections += ["```sh", *examples, "```", ""]
        options = [p for p in command.params if isinstance(p, click.Option)]
        sections += ["| option | environment | meaning |", "|---|---|---|"]
        sections += [_row(option, within) for option in options]
        sections.append("| `-h`, `--help` | | Show the command's help and exit. |")
    return "\n".join(parts + sections) + "\n"


def each_command(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name; a group stands for those in it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            inner = each_command(command, click.Context(command, info_name=name))
            yield from ((f"{name} {sub}", one) for sub, one in inner)
        else:
            yield name, command


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join([context.info_name or "", *command.collect_usage_pieces(context)])


def _row(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
    metavar = "" if option.is_flag and not option.count else f" `{_metavar(option, context)}`"
    variable = f"`{option.envvar}`" if isinstance(option.envvar, str) else ""
    words = option.help or ""
    if isinstance(option.default, str) and option.default and "[" not in words:
        words += f" [{option.default}]"
    return f"| {_cell(names + metavar)} | {variable} | {_cell(words)} |"


def _metavar(option: click.Option, context: click.Context) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return "N" if isinstance(option.type, click.IntRange) else option.make_metavar(context)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def split_page(text: str) -> tuple[str, str, str]:
    """What stands before the marks, between them, and after."""
    before, _, rest = text.partition(BEGIN)
    between, _, after = rest.partition(END)
    return before, between, after


def main() -> None:
    """Write the page anew."""
    before, _, after = split_page(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(before + BEGIN + "\n" + render_commands(program()) + "\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
