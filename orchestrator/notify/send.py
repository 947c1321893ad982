"""Sends notifications in parallel, each for at most ten seconds. One that fails is only a warning."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestrator.engine.events import NotificationFailed, NotificationSent, Observer
from orchestrator.errors import OmniRefreshError
from orchestrator.log.redaction import Redactor
from orchestrator.manifest.manifest import Channel, Notice
from orchestrator.notify.by_apprise import send_by_apprise
from orchestrator.notify.message import is_due, make_message
from orchestrator.omni.post_json import post_json
from orchestrator.report.report import Report

PATIENCE_S = 10.0
"""How long a notification may take, in seconds: a run's end waits no longer."""


async def send_notices(
    notices: Sequence[Notice],
    report: Report,
    *,
    observe: Observer,
    redactor: Redactor,
    report_paths: Sequence[str] = (),
    next_command: str | None = None,
    user_agent: str = "omni-refresh",
    patience_s: float = PATIENCE_S,
) -> int:
    """Send the notifications whose condition the run meets. Return how many were sent.

    A notification that fails raises nothing. Each may take `patience_s`. `redactor` removes secrets from what is sent.
    """
    due = [notice for notice in notices if is_due(notice.on, report)]
    if not due:
        return 0
    document = redactor.redact(make_message(report, report_paths=report_paths, next_command=next_command))

    async def send(notice: Notice) -> bool:
        url = "" if notice.url is None else notice.url.reveal()
        try:
            if notice.channel is Channel.WEBHOOK:
                await post_json(url, document, timeout_s=patience_s, user_agent=user_agent)
            else:
                await send_by_apprise(url, title=document["title"], body=document["text"], timeout_s=patience_s)
        except OmniRefreshError as error:
            observe(NotificationFailed(channel=notice.channel.value, condition=notice.on.value, message=str(error)))
            return False
        observe(NotificationSent(channel=notice.channel.value, condition=notice.on.value))
        return True

    return sum(await asyncio.gather(*map(send, due)))
