"""Checks a manifest against its instances, with reads alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.app.context import Context
from orchestrator.app.instances import open_survey
from orchestrator.errors import OmniRefreshError
from orchestrator.manifest.manifest import Manifest
from orchestrator.omni.answers import WhoAmI
from orchestrator.omni.errors import CallError
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.survey.check_online import check_online
from orchestrator.survey.finding import Finding, InstanceFacts, found_in_manifest, make_check_document


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What is wrong with a manifest.

    `instances` is what they said of themselves. `calls` is how many calls that took; `key_refused` is True if keys were
    refused. `redact` takes secrets out of texts.
    """

    manifest: Manifest
    findings: Sequence[Finding]
    instances: Sequence[InstanceFacts] = ()
    calls: int = 0
    key_refused: bool = False
    redact: Callable[[Any], Any] = field(repr=False)

    @property
    def exit_code(self) -> int:
        """3 if keys were refused, 1 for errors, 0 for warnings alone."""
        if self.key_refused:
            return 3
        return 1 if any(finding.severity == "error" for finding in self.findings) else 0

    def to_dict(self) -> Mapping[str, Any]:
        """Return the findings as JSON data, the same as `omni-refresh check --json`."""
        return make_check_document(
            self.manifest, self.findings, calls=self.calls, redact=self.redact, instances=self.instances
        )


async def check(manifest: Manifest, context: Context, *, online: bool = False, state: str | None = None) -> CheckResult:
    """Return the findings about a manifest; with `online` also what its instances say, in the order of its lines."""
    context.hide_secrets(manifest)
    findings: Sequence[Finding] = found_in_manifest(manifest)
    if not online:
        return CheckResult(manifest=manifest, findings=findings, redact=context.redactor.redact)
    async with open_survey(context, manifest, state) as survey:
        asked = await check_online(manifest, survey)
        return CheckResult(
            manifest=manifest,
            findings=sorted((*findings, *asked.findings), key=lambda finding: finding.place),
            instances=asked.instances,
            calls=survey.stats.requests,
            key_refused=bool(survey.refused),
            redact=context.redactor.redact,
        )


async def check_key(manifest: Manifest, instance: str, context: Context, *, state: str | None = None) -> WhoAmI:
    """Return the user that a key acts as, by one small read within the key's budget. Raises `OmniRefreshError`."""
    async with open_survey(context, manifest, state) as survey:
        calls = await survey.calls(instance)
        reader = await survey.look_up(instance)
        try:
            return await reader.read(lambda key: calls.client.whoami((), key))
        except LimiterClosed as error:
            raise OmniRefreshError(survey.why(error)) from None
        except CallError as error:
            raise OmniRefreshError(str(error)) from None
