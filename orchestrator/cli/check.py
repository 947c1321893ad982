"""`omni-refresh check`: check a manifest, offline or against its instances."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import PATH, log_options, manifest_argument, option, state_options

if TYPE_CHECKING:
    from orchestrator.app.check import CheckResult
    from orchestrator.manifest.manifest import Manifest
    from orchestrator.survey.finding import Finding


@program_command("check", "omni-refresh check nightly.yaml", "omni-refresh check nightly.yaml --online")
@manifest_argument
@option(
    "--online",
    is_flag=True,
    help="Also check against the instances: models, branches, connections, roles, schemas, schedules.",
)
@option("--json", "as_json", is_flag=True, help="Print the findings as one JSON document.")
@option("--sarif", type=PATH, metavar="PATH", help="Write the findings as SARIF, for code-scanning tools.")
@state_options
@log_options
def check(*, manifest: str, online: bool, as_json: bool, sarif: str | None, **log: Any) -> int:
    """Check MANIFEST and report every error with its line. Sends nothing and needs no key.

    With --online, also read from the instances whether the manifest's models, branches, connections and scopes exist.

    Exit code 2 if the manifest is wrong, 0 if there are only warnings. With --online: 1 if the instance does not have what the
    manifest names, 3 if the keys are refused.
    """
    import asyncio

    from orchestrator.cli.command_setup import set_up
    from orchestrator.manifest.diagnostics import ManifestError
    from orchestrator.manifest.load import load_manifest
    from orchestrator.survey.finding import found_by_reader, found_in_manifest, make_check_document, make_sarif
    from orchestrator.terminal.console import print_json

    setup = set_up(log)
    redact = setup.context.redactor.redact
    if sarif is not None:
        _check_output(sarif, manifest)
    try:
        loaded = load_manifest(manifest, environ=os.environ, with_keys=online)
    except ManifestError as error:
        found = found_by_reader(error)
        if as_json:
            print_json(make_check_document(manifest, found, calls=0, redact=redact))
        if sarif is not None:
            _write_sarif(sarif, make_sarif(manifest, found, redact=redact))
        raise
    if not online and not as_json:
        # without slow imports
        if sarif is not None:
            _write_sarif(sarif, make_sarif(manifest, found_in_manifest(loaded), redact=redact))
        return _say_offline(loaded)
    from orchestrator.app.check import check

    result = asyncio.run(check(loaded, setup.context, online=online))
    if sarif is not None:
        _write_sarif(sarif, make_sarif(manifest, result.findings, redact=result.redact))
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result)
    return result.exit_code


def _check_output(path: str, manifest: str) -> None:
    from orchestrator.app.deliver import NamedFile, check_destinations
    from orchestrator.report.files import check_writable

    check_writable(path)
    check_destinations([NamedFile("the SARIF file", path)], inputs=[NamedFile("the manifest", manifest)])


def _write_sarif(path: str, document: Mapping[str, Any]) -> None:
    from orchestrator.report.as_json import dump
    from orchestrator.report.files import write_report

    write_report(path, dump(document, indent=2) + "\n")


def _say_offline(loaded: Manifest) -> int:
    from orchestrator.survey.finding import found_in_manifest
    from orchestrator.text import clean

    _print_findings(found_in_manifest(loaded), loaded, err=True)
    disabled = sum(1 for e in loaded.entries if not e.enabled)
    more = f", {disabled} disabled" if disabled else ""
    click.echo(f"{clean(loaded.path)}: OK ({_counts(loaded)}{more})")
    return 0


def _counts(loaded: Manifest) -> str:
    count, instances = len(loaded.entries), len(loaded.instances)
    return f"{count} model{'s' if count != 1 else ''}, {instances} instance{'s' if instances != 1 else ''}"


def _print(result: CheckResult) -> None:
    from orchestrator.terminal.console import print_result
    from orchestrator.text import clean

    manifest, findings = result.manifest, result.findings
    lines = _findings(findings, manifest, redact=result.redact)
    errors = sum(finding.severity == "error" for finding in findings)
    verdict = f"{errors} error{'s' if errors != 1 else ''}" if errors else "OK"
    warnings = sum(finding.severity == "warning" for finding in findings)
    more = f", {warnings} warning{'s' if warnings != 1 else ''}" if warnings else ""
    lines.append(f"{clean(manifest.path)}: {verdict}{more} ({_counts(manifest)}, {result.calls} calls)")
    print_result("\n".join(lines) + "\n")


def _print_findings(findings: Sequence[Finding], manifest: Manifest, *, err: bool) -> None:
    for line in _findings(findings, manifest, redact=lambda text: text):
        click.echo(line, err=err)


def _findings(findings: Sequence[Finding], manifest: Manifest, *, redact: Callable[[str], str]) -> list[str]:
    """The lines of findings, each with the line of the manifest that it is about."""
    from orchestrator.cli.errors import render_finding
    from orchestrator.input_file import read_input
    from orchestrator.manifest.excerpt import make_excerpt
    from orchestrator.manifest.yaml_text import MAX_BYTES

    try:
        text = read_input(manifest.path, MAX_BYTES).decode("utf-8-sig").splitlines() if findings else []
    except (OSError, ValueError):
        # the manifest may come from a pipe
        text = []
    secrets = [secret.reveal() for secret in manifest.secrets]
    return [
        line
        for finding in findings
        for line in render_finding(
            # a note is about the instance, and not about a line
            "" if finding.severity == "note" else f"{manifest.path}:{finding.place.line}:{finding.place.column}",
            severity=finding.severity.value,
            code=finding.code,
            message=redact(f"{finding.entry}: {finding.message}" if finding.entry is not None else finding.message),
            hint=redact(finding.hint),
            excerpt=None if finding.severity == "note" else make_excerpt(text, finding.place, secrets),
        )
    ]
