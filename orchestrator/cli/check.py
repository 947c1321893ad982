"""`omni-refresh check`: is the manifest right?"""

from __future__ import annotations

import os

import click

from orchestrator.cli.options import manifest_argument


@click.command("check")
@manifest_argument
def command(manifest: str) -> int:
    """Read MANIFEST and say everything that is wrong with it, each fault with its line; sends nothing and needs no key.

    Exit code 2 where anything is wrong; warnings alone are 0.
    """
    from orchestrator.manifest.load import load_manifest
    from orchestrator.text import clean

    loaded = load_manifest(manifest, environ=os.environ, with_keys=False)
    for warning in loaded.warnings:
        place = f"{loaded.path}:{warning.place.line}:{warning.place.column}"
        click.echo(clean(f"{place}: warning: {warning.message}"), err=True)
    count, instances = len(loaded.entries), len(loaded.instances)
    disabled = sum(1 for e in loaded.entries if not e.enabled)
    words = f"{count} model{'s' if count != 1 else ''} on {instances} instance{'s' if instances != 1 else ''}"
    click.echo(f"{clean(loaded.path)}: right: {words}" + (f", {disabled} disabled" if disabled else ""))
    return 0
