"""`omni-refresh discover`: write a manifest of an instance's models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import PATH, log_options, option, state_options

if TYPE_CHECKING:
    from orchestrator.manifest.manifest import Manifest
    from orchestrator.survey.model_listing import Difference, ModelListing


@program_command("discover", "omni-refresh discover -o models.yaml", "omni-refresh discover --diff nightly.yaml")
@option(
    "--base-url",
    metavar="URL",
    help="The instance's address, instead of OMNI_BASE_URL. The key comes from OMNI_API_TOKEN.",
)
@option("--like", type=PATH, metavar="MANIFEST", help="Take address and keys from an instance of this manifest.")
@option("--instance", metavar="NAME", help="The instance to use if that manifest has several.")
@option(
    "--connection", multiple=True, metavar="C", help="Only models on this connection, by its name or id. Repeatable."
)
@option("--name", multiple=True, metavar="GLOB", help="Only models whose names match. Repeatable.")
@option(
    "--kind",
    multiple=True,
    type=click.Choice(["SHARED", "SHARED_EXTENSION", "SCHEMA"], case_sensitive=False),
    default=("SHARED",),
    help="Only models of this kind. Repeatable. [SHARED]",
)
@option(
    "--diff",
    type=PATH,
    metavar="MANIFEST",
    help="Instead of writing a manifest, show which models this one lacks and which are gone.",
)
@option(
    "--output",
    "-o",
    type=PATH,
    metavar="PATH",
    help="Write to PATH instead of stdout. An existing file is not overwritten.",
)
@option("--force", is_flag=True, help="With --output: overwrite an existing file.")
@option("--json", "as_json", is_flag=True, help="With --diff: print one JSON document.")
@state_options
@log_options
def discover(
    *,
    base_url: str | None,
    like: str | None,
    instance: str | None,
    connection: tuple[str, ...],
    name: tuple[str, ...],
    kind: tuple[str, ...],
    diff: str | None,
    output: str | None,
    force: bool,
    as_json: bool,
    **log: Any,
) -> int:
    """Write a manifest of an instance's models, grouped by connection, with their branches as comments.

    The command only reads. The instance is that of OMNI_BASE_URL and OMNI_API_TOKEN, or one of a manifest.

    With --diff MANIFEST: show which models are new on the instance and which are gone. Exit code 1 if there are any.
    """
    import asyncio

    from orchestrator.app.deliver import NamedFile, check_destinations, manifest_files
    from orchestrator.app.discover import discover, environment_manifest
    from orchestrator.cli.command_setup import set_up
    from orchestrator.errors import UsageError
    from orchestrator.manifest.load import load_manifest
    from orchestrator.report.files import write_report
    from orchestrator.survey.model_listing import CannotTell, ModelFilter, make_difference_document
    from orchestrator.terminal.console import print_json, print_result

    setup = set_up(log)
    _check_words(base_url, like, diff, output, force=force, as_json=as_json)
    path = like or diff
    if path is not None:
        manifest = load_manifest(path, environ=os.environ)
    elif instance is not None:
        raise UsageError("--instance needs --like or --diff", code="missing-option")
    else:
        manifest = environment_manifest(setup.context, base_url)
    if output is not None:
        check_destinations([NamedFile("the manifest", output)], inputs=[*manifest_files(manifest)][1:])
    wanted = ModelFilter(kinds=tuple(dict.fromkeys(k.upper() for k in kind)), connections=connection, names=name)
    try:
        found = asyncio.run(discover(manifest, wanted, setup.context, instance=instance, compare=diff is not None))
    except CannotTell as error:
        _say(setup.context.redactor.redact(str(error)))
        return 3 if error.refused else 1
    listing, difference = found.listing, found.difference
    if difference is not None:
        if as_json:
            document = make_difference_document(difference, manifest, listing)
            print_json(setup.context.redactor.redact(document))
        else:
            print_result(setup.context.redactor.redact(_render(difference, manifest, listing)))
        return 1 if difference else 0
    if not listing.models:
        _say("no model matches; nothing was written")
        return 1
    text = found.to_yaml()
    if output is None:
        print_result(text)
    else:
        write_report(output, text)
        _say(f"{len(listing.models)} models written to {output}")
    return 0


def _check_words(
    base_url: str | None, like: str | None, diff: str | None, output: str | None, *, force: bool, as_json: bool
) -> None:
    """Check, before the first call, that the options fit together and the file can be written. Raises `UsageError`."""
    from orchestrator.errors import UsageError
    from orchestrator.report.files import check_writable

    if sum(word is not None for word in (base_url, like, diff)) > 1:
        raise UsageError(
            "--base-url, --like and --diff each name an instance", code="option-conflict", hint="give only one of them"
        )
    if as_json and diff is None:
        raise UsageError("--json needs --diff: without it, discover writes a manifest", code="missing-option")
    if diff is not None and output is not None:
        raise UsageError("--diff writes no manifest", code="option-conflict", hint="remove --output")
    if output is not None:
        if Path(output).exists() and not force:
            raise UsageError(f"{output} exists", code="output-exists", hint="--force overwrites it")
        check_writable(output)


def _render(difference: Difference, manifest: Manifest, listing: ModelListing) -> str:
    from orchestrator.text import clean

    lines = [
        f"new: {model.name or 'without a name'} ({model.id}) on {_connection(listing, model.connection_id)}"
        for model in difference.new
    ]
    lines += [
        f"gone: {manifest.path}:{entry.place.line}:{entry.place.column}: {entry.name}" for entry in difference.gone
    ]
    if not lines:
        lines.append(f"{manifest.path} names all {len(listing.models)} models, and none is gone")
    return "".join(f"{clean(line)}\n" for line in lines)


def _connection(listing: ModelListing, connection_id: str | None) -> str:
    return listing.connection_name(connection_id) or connection_id or "an unknown connection"


def _say(text: str) -> None:
    from orchestrator.cli.errors import say

    say(f"omni-refresh: {text}")
