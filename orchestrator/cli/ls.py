"""`omni-refresh ls`: list what a selection holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import log_options, manifest_argument, option, selection_options

if TYPE_CHECKING:
    from orchestrator.manifest.manifest import Entry


@program_command("ls", "omni-refresh ls nightly.yaml -s tag:finance", "omni-refresh ls nightly.yaml --long")
@manifest_argument
@selection_options
@option(
    "--long",
    "-l",
    is_flag=True,
    help="Also print the instance, the model, the branch, the mode, the scope and the tags.",
)
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@log_options
def ls(
    *,
    manifest: str,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    allow_empty: bool,
    long: bool,
    as_json: bool,
    **log: Any,
) -> int:
    """List the targets of MANIFEST that a selection holds, one name per line, in the manifest's order.

    Sends nothing and needs no key. Exit code 2 if nothing is selected, unless --allow-empty is given.
    """
    from orchestrator.app.target_list import make_target_list
    from orchestrator.cli.command_setup import set_up
    from orchestrator.manifest.load import load_manifest
    from orchestrator.planning.selection import Selector
    from orchestrator.terminal.console import print_json, print_result
    from orchestrator.text import clean

    set_up(log)
    loaded = load_manifest(manifest, environ=os.environ, with_keys=False)
    entries = Selector(loaded, select, exclude).select(allow_empty=allow_empty)
    if as_json:
        print_json(make_target_list(entries))
        return 0
    if not long:
        print_result("".join(f"{clean(entry.name)}\n" for entry in entries))
        return 0
    rows = [[clean(cell) for cell in _cells(entry)] for entry in entries]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(len(_COLUMNS))]
    shown = [_COLUMNS, *rows]
    widths = [max(width, len(title)) for width, title in zip(widths, _COLUMNS, strict=True)]
    print_result(
        "".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() + "\n" for row in shown)
    )
    return 0


_COLUMNS = ["TARGET", "INSTANCE", "MODEL", "BRANCH", "CONNECTION", "MODE", "SCOPE", "TAGS"]


def _cells(entry: Entry) -> list[str]:
    from orchestrator.planning.plan import how_refreshed

    mode = how_refreshed(entry) if entry.enabled else "disabled"
    scope = ", ".join((*entry.schemas, *entry.tables))
    texts = (entry.instance, entry.model_id or entry.model_name, entry.branch, entry.connection, mode, scope)
    return [entry.name, *(text or "-" for text in texts), ", ".join(entry.tags) or "-"]
