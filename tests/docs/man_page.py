"""Writes the manual page docs/reference/omni-refresh.1 from what the command line says of itself.

`python -m tests.docs.man_page` writes the page again; `test_reference` checks that it is up to date.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from orchestrator import __version__
from orchestrator.cli.command_line import HELP_SECTION, SectionedCommand
from orchestrator.cli.main import EXAMPLES, global_options
from tests.docs.cli_reference import each_command, program
from tests.house.tree import ROOT

PAGE = ROOT / "docs/reference/omni-refresh.1"

_ENVIRONMENT = (
    ("OMNI_BASE_URL", "The address of the instance, if the manifest names none."),
    ("OMNI_API_TOKEN, OMNI_API_KEY", "The key of that instance."),
    ("OMNI_REFRESH_STATE_DIR", "The state folder. It must be on a local disk."),
    (
        "OMNI_REFRESH_<OPTION>",
        "The value of an option, for example OMNI_REFRESH_LOG_FORMAT=json. The option itself takes precedence.",
    ),
    ("NO_COLOR", "Print without colours."),
)


def render_man_page(group: click.Group) -> str:
    """Return the page in the man macro language."""
    context = click.Context(group, info_name="omni-refresh")
    about, exits = (group.help or "").split("\n\n")[:2]
    lines = [
        f'.TH OMNI\\-REFRESH 1 "" "omni\\-refresh {__version__}" "User Commands"',
        ".SH NAME",
        "omni\\-refresh \\- refresh the schemas of many Omni models within the API's rate limit",
        ".SH SYNOPSIS",
        ".B omni\\-refresh",
        "[\\fIGLOBAL OPTIONS\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        *_text(about),
        ".SH GLOBAL OPTIONS",
        "They may stand before or after the command.",
        *_options(context, global_options()),
        ".SH COMMANDS",
    ]
    for name, command in each_command(group, context):
        within = click.Context(command, info_name=f"omni-refresh {name}")
        lines += [f".SS {_escape(name)}", f".B omni\\-refresh {_escape(name)}"]
        lines += [f"{_escape(' '.join(command.collect_usage_pieces(within)))}", ".PP"]
        for paragraph in (command.help or "").split("\n\n"):
            lines += [*_text(paragraph), ".PP"]
        own = [p for p in command.params if getattr(p, "section", None) != HELP_SECTION]
        lines += _options(within, own)
    lines += [".SH EXIT STATUS", *_text(exits.removeprefix("Exit codes: "))]
    lines.append(".SH ENVIRONMENT")
    for variable, words in _ENVIRONMENT:
        lines += [".TP", f".B {_escape(variable)}", *_text(words)]
    lines += [".SH EXAMPLES", ".nf"]
    examples = list(EXAMPLES)
    for _, command in each_command(group, context):
        examples += command.examples if isinstance(command, SectionedCommand) else ()
    lines += [_escape(example) for example in dict.fromkeys(examples)]
    lines += [".fi", ".SH SEE ALSO", "The documentation in the folder", ".I docs", "of the sources."]
    return "\n".join(lines) + "\n"


def _options(context: click.Context, params: Sequence[click.Parameter]) -> Iterator[str]:
    for param in params:
        record = param.get_help_record(context)
        if isinstance(param, click.Option) and record is not None:
            yield ".TP"
            yield f".B {_escape(record[0])}"
            yield from _text(record[1])


def _text(text: str) -> Iterator[str]:
    line = _escape(" ".join(text.split()))
    # a line that begins with a dot or an apostrophe is a request
    yield f"\\&{line}" if line[:1] in ".'" else line


def _escape(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def main() -> None:
    """Write the page."""
    PAGE.write_text(render_man_page(program()), encoding="utf-8")


if __name__ == "__main__":
    main()
