"""`omni-refresh simulate`: serve a simulated Omni instance."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.command_line import argument, program_command
from orchestrator.cli.options import PATH, option


@program_command("simulate", "omni-refresh simulate --port 8080")
@argument("scenario", type=PATH, required=False)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="The port on 127.0.0.1. 0 means any free port. [0]",
)
@option("--calls", type=PATH, metavar="PATH", help="Write each call to PATH as a JSON line.")
def simulate(scenario: str | None, port: int, calls: str | None) -> int:
    """Serve a simulated Omni instance on 127.0.0.1 until stopped. The first line on stdout is its address.

    SCENARIO is a YAML file that says which models exist, how long their jobs take, and which faults occur. Without it, every
    model id exists.
    """
    import asyncio
    from contextlib import suppress
    from datetime import UTC, datetime

    from orchestrator.app.deliver import NamedFile, check_destinations
    from orchestrator.app.simulation import read_scenario
    from orchestrator.report.files import check_writable
    from orchestrator.simulator.reading import make_scenario
    from orchestrator.simulator.server import serve

    staged = read_scenario(scenario) if scenario else make_scenario(default_model={})
    path = Path(calls) if calls else None
    if path is not None:
        check_writable(path)
        check_destinations(
            [NamedFile("the call log", str(path))], inputs=[NamedFile("the scenario", scenario)] if scenario else []
        )
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(staged, utcnow=lambda: datetime.now(UTC), port=port, log_path=path, ready=click.echo))
    return 0
