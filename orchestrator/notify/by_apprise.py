"""Notifications through `apprise` (an extra): Slack, Teams, mail and others. It is imported when a notification is sent."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from orchestrator.errors import OmniRefreshError
from orchestrator.log import REDACTED

_WORDS_KEPT: Final = 300
_SECRET_PIECE: Final = 6


class MessengerError(OmniRefreshError):
    """A notification was not sent. The text has the reason and what to do."""


async def send_by_apprise(url: str, *, title: str, body: str, timeout_s: float) -> None:
    """Send a text to one address within `timeout_s`. Raises `MessengerError`, which does not show the address.

    apprise blocks, and its services have their own time limits. It runs in a daemon thread, which is abandoned after
    `timeout_s`.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str | None] = loop.create_future()

    def finish(problem: str | None) -> None:
        if not done.done():
            done.set_result(problem)

    def work() -> None:
        problem = _send(url, title, body)
        try:
            loop.call_soon_threadsafe(finish, problem)
        except RuntimeError:
            # the program has ended and needs no answer
            return

    threading.Thread(target=work, name="apprise", daemon=True).start()
    try:
        async with asyncio.timeout(timeout_s):
            problem = await done
    except TimeoutError:
        problem = f"no answer within {timeout_s:g} s"
    if problem is not None:
        raise MessengerError(problem)


def _send(url: str, title: str, body: str) -> str | None:
    """Send it, blocking. Return what went wrong, or None."""
    try:
        apprise: Any = import_module("apprise")
    except ImportError:
        return "apprise is not installed: pip install apprise"
    heard = _Heard()
    logger = logging.getLogger("apprise")
    logger.addHandler(heard)
    # its complaint becomes part of our own warning, without the address
    logger.propagate = False
    problem: str | None = "apprise failed"
    with suppress(Exception):
        # the code of a service may raise anything
        messenger = apprise.Apprise(asset=apprise.AppriseAsset(app_id="omni-refresh", async_mode=False))
        if not messenger.add(url):
            problem = "apprise does not know this kind of address"
        elif messenger.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
            problem = None
        else:
            problem = "the service did not accept it"
    logger.removeHandler(heard)
    return problem and _explain(problem, heard.last, url)


class _Heard(logging.Handler):
    """Keeps the last message that apprise logs in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the latest complaint."""
        if record.thread == self._thread:
            self.last = record.getMessage()


def _explain(problem: str, words: str, url: str) -> str:
    """Return the problem with apprise's own words, without any longer piece of the address."""
    words = words[:_WORDS_KEPT]
    for piece in sorted(re.split(r"[^\w.-]+", url.partition("://")[2]), key=len, reverse=True):
        if len(piece) >= _SECRET_PIECE:
            words = words.replace(piece, REDACTED)
    return f"{problem}: {words}" if words else problem
