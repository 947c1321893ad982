"""`omni-refresh schema`: print the JSON Schemas, for editors and for programs that read reports."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from orchestrator.cli.command_line import argument, program_command


@program_command("schema", "omni-refresh schema manifest > manifest.schema.json")
@argument("what", type=click.Choice(["manifest", "report", "scenario"]))
def schema(what: str) -> int:
    """Print a JSON Schema: of the manifest, the report, or a simulator's scenario."""
    click.echo(json.dumps(_schema(what), indent=2, ensure_ascii=False))
    return 0


def _schema(what: str) -> Mapping[str, object]:
    if what == "manifest":
        from orchestrator.manifest.keys import manifest_json_schema

        return manifest_json_schema()
    if what == "report":
        from orchestrator.report.document import report_json_schema

        return report_json_schema()
    from orchestrator.simulator.reading import scenario_json_schema

    return scenario_json_schema()
