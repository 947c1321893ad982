"""`omni-refresh completion`: print what a shell needs to complete commands, options, files, targets and runs."""

from __future__ import annotations

import os
import re
from typing import Any, Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from orchestrator.cli.command_line import argument, program_command

_VARIABLE: Final = "_OMNI_REFRESH_COMPLETE"
_QUOTED: Final = re.compile(r"([^\w@%+=:,./^{}-])")

_BASH: Final = """\
%(complete_func)s() {
    local IFS=$'\\n' response type value
    response=$(env COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    while IFS=',' read -r type value; do
        case $type in
            file) compopt -o filenames; while read -r value; do COMPREPLY+=("$value"); done \\
                < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}") ;;
            plain) COMPREPLY+=("$value"); [[ $value == *[:=] ]] && compopt -o nospace ;;
        esac
    done <<< "$response"
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Completion for Bash that knows of the words that it breaks at colons, and quotes what has blanks."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the arguments before the cursor and the one that is completed."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        is_new = not line or (line[-1].isspace() and not line.endswith("\\ "))
        self._incomplete = "" if is_new else words.pop()
        return words[1:], self._incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return one line; Bash replaces only what follows the last break."""
        value = _QUOTED.sub(r"\\\1", str(item.value)) if item.type == "plain" else str(item.value)
        breaks = os.environ.get("COMP_WORDBREAKS", "")
        typed = self._incomplete
        if typed.startswith("-") and "=" in typed:
            typed = typed.partition("=")[2]
        for mark in ":=":
            if mark in breaks and mark in typed:
                value = value[_QUOTED.sub(r"\\\1", typed).rindex(mark) + 1 :]
                break
        return f"{item.type},{value}"

    def source(self) -> str:
        """Return the script, without asking Bash for its version."""
        return self.source_template % self.source_vars()


SHELLS: Final[dict[str, type[ShellComplete]]] = {"bash": _Bash, "zsh": ZshComplete, "fish": FishComplete}


@program_command(
    "completion",
    'eval "$(omni-refresh completion bash)"',
    "omni-refresh completion zsh > ~/.zfunc/_omni-refresh",
    "omni-refresh completion fish > ~/.config/fish/completions/omni-refresh.fish",
)
@argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> int:
    """Print the script that makes a shell complete `omni-refresh`.

    It completes commands, options and their values, files, SQL dialects, ids of earlier runs, and for --select and --exclude
    the targets, tags, instances, connections and branches of the manifest on the command line.
    """
    from orchestrator.terminal.console import print_result

    group = click.get_current_context().find_root().command
    print_result(SHELLS[shell](group, {}, "omni-refresh", _VARIABLE).source())
    return 0


def complete(group: click.Group) -> bool:
    """Answer a shell that asks for completions, as the environment says; return whether one did."""
    shell, _, action = os.environ.get(_VARIABLE, "").partition("_")
    if action != "complete" or shell not in SHELLS:
        return False
    from orchestrator.terminal.console import print_result

    print_result(SHELLS[shell](group, {}, "omni-refresh", _VARIABLE).complete() + "\n")
    return True
