"""`omni-refresh doctor`: examine what a run needs."""

from __future__ import annotations

import os
from typing import Any

from orchestrator.cli.command_line import argument, program_command
from orchestrator.cli.options import PATH, log_options, option, state_options


@program_command("doctor", "omni-refresh doctor", "omni-refresh doctor nightly.yaml")
@argument("manifest", metavar="[MANIFEST]", type=PATH, required=False)
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@state_options
@log_options
def doctor(*, manifest: str | None, as_json: bool, **log: Any) -> int:
    """Examine what a run needs: the address, the key, its role, the clock, and the state folder, one line each with the remedy.

    The instances are those of MANIFEST; without it, the one of OMNI_BASE_URL and OMNI_API_TOKEN. Each costs one API call.

    Exit code 0 if nothing is wrong or there are only warnings, 3 if a key is refused, 1 for any other error.
    """
    import asyncio

    from orchestrator.app.discover import environment_manifest
    from orchestrator.app.doctor import Health, examine, exit_code_of, make_doctor_document
    from orchestrator.cli.command_setup import set_up
    from orchestrator.manifest.load import load_manifest
    from orchestrator.terminal.console import print_json, print_result
    from orchestrator.text import clean

    setup = set_up(log)
    loaded = environment_manifest(setup.context) if manifest is None else load_manifest(manifest, environ=os.environ)
    examined = asyncio.run(examine(loaded, setup.context, with_models=manifest is not None))
    redact = setup.context.redactor.redact
    if as_json:
        print_json(make_doctor_document(examined, redact=redact))
        return exit_code_of(examined)
    words = {Health.OK: "ok", Health.WARNING: "warn", Health.ERROR: "FAIL"}
    lines = []
    for each in examined:
        place = f"{each.instance}: " if each.instance is not None and len(loaded.instances) > 1 else ""
        fix = f" -> {each.fix}" if each.fix else ""
        lines.append(f"{words[each.health]:5} {each.what:8} {clean(redact(place + each.words + fix))}\n")
    print_result("".join(lines))
    return exit_code_of(examined)
