"""Which commands come next after a run. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from orchestrator.engine.failure import is_misconfigured
from orchestrator.engine.outcome import Outcome
from orchestrator.engine.restore import is_open
from orchestrator.journal.records import NewRun
from orchestrator.manifest.manifest import absolute_path

_NAMES_LISTED: Final = 12


def next_commands(run: NewRun, outcomes: Sequence[Outcome], *, selection: Sequence[str] = ()) -> tuple[str, ...]:
    """The commands that finish what a run left, in the order in which to use them; none if nothing is left.

    What was cut off is resumed. What failed because of the configuration needs a new run with the corrected manifest: a
    retry would repeat the old plan. The rest is retried. `selection` is the run's own, each word as `select EXPR`.
    """
    if any(map(is_open, outcomes)):
        return (f"omni-refresh resume {run.id}",)
    bad = [outcome for outcome in outcomes if not outcome.status.is_good]
    wrong = [outcome.name for outcome in bad if is_misconfigured(outcome, outcomes)]
    rest = [outcome.name for outcome in bad if outcome.name not in set(wrong)]
    commands = []
    if rest:
        commands.append(f"omni-refresh retry {run.id}{_narrowed(rest, wrong) if wrong else ''}")
    if wrong:
        path = run.manifest_path if absolute_path(run.manifest_path) == run.manifest_file else run.manifest_file
        is_all = len(wrong) == len(outcomes) > _NAMES_LISTED
        words = _as_options(selection) if is_all else _options("select", wrong)
        commands.append(f"omni-refresh run {shlex.quote(path)}{words}")
    return tuple(commands)


def _narrowed(rest: Sequence[str], wrong: Sequence[str]) -> str:
    """Options that leave `rest` of what did not succeed, as few as possible."""
    return _options("exclude", wrong) if len(wrong) < len(rest) > _NAMES_LISTED else _options("select", rest)


def _as_options(selection: Sequence[str]) -> str:
    """The options that the words of a run's selection came from."""
    pairs = [word.partition(" ") for word in selection]
    return "".join(_options(kind, [text]) for kind, _, text in pairs if kind in ("select", "exclude"))


def _options(kind: str, names: Sequence[str]) -> str:
    """One option for each name, quoted for a shell where that is needed."""
    return "".join(f" --{kind}{'=' if name.startswith('-') else ' '}{shlex.quote(name)}" for name in names)
