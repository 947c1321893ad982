"""A FastAPI service: each request is a run of its own, and several may be active at once."""

import os

from fastapi import FastAPI, HTTPException

from orchestrator import LockedError, UsageError, run

MANIFEST = os.environ.get("MANIFEST", "nightly.yaml")
SIMULATE = os.environ.get("SIMULATE") == "1"

app = FastAPI()


@app.post("/refreshes")
async def refresh(models: list[str]) -> dict[str, object]:
    """Refresh these models of the manifest, and return the counts and each model's status."""
    try:
        report = await run(MANIFEST, select=models, simulate=SIMULATE)
    except LockedError as error:
        raise HTTPException(409, str(error)) from error
    except UsageError as error:
        raise HTTPException(422, str(error)) from error
    return {
        "run": report.run.id,
        "exit_code": report.exit_code,
        "models": {outcome.name: outcome.status.value for outcome in report.outcomes},
    }
