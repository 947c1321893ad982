"""Where a command that begins a run sits: the open state, the streams, the environment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from signal import Signals as Signal

import click

from orchestrator.cli.console import Console
from orchestrator.cli.main import say
from orchestrator.cli.signals import Signals
from orchestrator.cli.state import State
from orchestrator.errors import LockedError
from orchestrator.log import Event, Redactor, get_logger
from orchestrator.run.settings import Overlap

_LOOK_EVERY_S = 0.5
_TELL_EVERY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every launch needs: the open state, where to talk, what to do about a run that is at work on the same."""

    state: State
    console: Console
    redactor: Redactor
    overlap: Overlap
    environ: Mapping[str, str]
    signals: Signals


def take_lock(desk: Desk, name: str) -> None:
    """Take a run's lock, as `--on-overlap` says. Raises `LockedError` that names the holder."""
    state = desk.state
    if desk.overlap is Overlap.PROCEED:
        return
    told_at = float("-inf")
    while (holder := state.locks.take(name, since=state.clock.utcnow())) is not None:
        if desk.overlap is Overlap.FAIL:
            raise LockedError(
                f"{holder} is at work on the same manifest and selection; nothing was sent. To wait for it: --on-overlap wait"
            )
        for number in desk.signals.caught:
            say(f"omni-refresh: stopped by {Signal(number).name} while waiting; nothing was sent")
            raise click.exceptions.Exit(128 + number)
        if state.clock.now() - told_at >= _TELL_EVERY_S:
            told_at = state.clock.now()
            get_logger().info(Event.RUN_WAITED, holder=str(holder))
        time.sleep(_LOOK_EVERY_S)
