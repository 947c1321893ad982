"""Where a command that begins a run sits: the open state, the streams, the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.cli.console import Console
from orchestrator.cli.state import Overlap, State
from orchestrator.log import Redactor


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every launch needs: the open state, where to talk, what to do about a run that is at work on the same."""

    state: State
    console: Console
    redactor: Redactor
    overlap: Overlap
    environ: Mapping[str, str]
