"""What follows a run: metrics for Prometheus, notifications, and the commands that come next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from orchestrator.app.choose_run import working_directory
from orchestrator.app.context import USER_AGENT, Context
from orchestrator.app.deliver import try_write
from orchestrator.app.overrides import ONE_OFF
from orchestrator.app.requests import AS_THE_MANIFEST_SAYS, StatedRequest
from orchestrator.app.state import HERE, StateOption
from orchestrator.engine.events import NotificationFailed, Observer
from orchestrator.engine.failure import is_misconfigured
from orchestrator.engine.outcome import Outcome
from orchestrator.engine.restore import is_open
from orchestrator.engine.run import RunResult
from orchestrator.errors import UsageError
from orchestrator.input_file import read_input
from orchestrator.journal.records import NewRun
from orchestrator.manifest.manifest import Manifest, Notice, absolute_path
from orchestrator.manifest.notices import notice_secrets, notice_url_again
from orchestrator.report.as_prometheus import EARLIER_BYTES, RunMetrics, render_metrics
from orchestrator.report.files import check_writable, write_report
from orchestrator.report.report import Report

# a container is killed ten seconds after it is asked to stop
_PATIENCE_WHEN_STOPPED_S = 2.0


def metrics_path(named: str | None) -> str | None:
    """Return the absolute path of the metrics file. Raises `UsageError` if it cannot be written."""
    if named is None:
        return None
    check_writable(named)
    return str(Path(named).absolute())


def write_metrics(path: str, report: Report, observe: Observer, *, manifest: Manifest, result: RunResult) -> bool:
    """Write the run's metrics, with what the file's earlier version remembers; return whether they could be."""
    metrics = RunMetrics(
        report=report,
        calls={(purpose.name.lower(), end): count for (purpose, end), count in result.stats.calls.items()},
        holds=result.holds,
        models={(entry.instance, entry.name) for entry in manifest.entries},
        unfollowed={(e.instance, e.name) for e in manifest.entries if not (e.enabled and e.wait)},
    )
    return try_write(partial(write_report, path, render_metrics(metrics, earlier=_earlier(path))), path, observe)


def _earlier(path: str) -> str:
    try:
        return read_input(path, EARLIER_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


async def send_notifications(report: Report, manifest: Manifest, context: Context, *, reports: Sequence[str]) -> None:
    """Send the notifications that the manifest names. A simulated run sends none. Never raises for a failed one."""
    if not manifest.notify or report.run.simulated:
        return
    from orchestrator.notify.send import PATIENCE_S, send_notices

    await send_notices(
        manifest.notify,
        report,
        observe=context.observe,
        redactor=context.redactor,
        report_paths=reports,
        next_command="; ".join(report.run.next_commands) or None,
        user_agent=USER_AGENT,
        patience_s=PATIENCE_S if report.run.signal is None else _PATIENCE_WHEN_STOPPED_S,
    )


def reread_notices(manifest: Manifest, context: Context) -> tuple[Notice, ...]:
    """Return an earlier run's notifications with their addresses read again, without those whose address cannot be read."""
    found = []
    for notice in manifest.notify:
        try:
            url = notice_url_again(notice, context.environ)
        except UsageError as error:
            context.observe(
                NotificationFailed(channel=notice.channel.value, condition=notice.on.value, message=str(error))
            )
            continue
        for secret in notice_secrets(notice, context.environ):
            context.redactor.add(secret)
        found.append(replace(notice, url=url))
    return tuple(found)


_NAMES_LISTED: Final = 12


def next_commands(
    run: NewRun, outcomes: Sequence[Outcome], *, stated: StatedRequest = AS_THE_MANIFEST_SAYS, state: StateOption = HERE
) -> tuple[str, ...]:
    """Return the commands that finish what a run left, in the order in which to use them; none if nothing is left.

    What was cut off is resumed. What failed because of the configuration needs a new run with the corrected manifest: a
    retry would repeat the old plan. The rest is retried. A new run states the same request as this one, for its targets
    that failed so. `state` is how a command finds the state.
    """
    path = run.manifest_path if absolute_path(run.manifest_path) == run.manifest_file else run.manifest_file
    place = _quoted(("--state", state.place) if state.place is not None else ())
    earlier = f"{shlex.quote(path) if state.is_from_manifest else run.id}{place}"
    if any(map(is_open, outcomes)):
        return (f"omni-refresh resume {earlier}",)
    bad = [outcome for outcome in outcomes if not outcome.status.is_good]
    wrong = [outcome.name for outcome in bad if is_misconfigured(outcome, outcomes)]
    rest = [outcome.name for outcome in bad if outcome.name not in set(wrong)]
    commands = []
    if rest:
        commands.append(f"omni-refresh retry {earlier}{_narrowed(rest, wrong) if wrong else ''}")
    if wrong:
        is_one_off = run.manifest_path.startswith(ONE_OFF)
        is_all = len(wrong) == len(outcomes) and stated.select is not None
        words = _quoted(stated.selection()) if is_all and len(wrong) > _NAMES_LISTED else _options("select", wrong)
        if is_one_off and len(outcomes) == 1:
            words = ""
        # the path of a one-off run is the options that it stands for
        what = run.manifest_path if is_one_off else shlex.quote(path)
        options = _quoted(stated.as_options(one_off=is_one_off, here=working_directory()))
        commands.append(f"omni-refresh run {what}{options}{place}{words}")
    return tuple(commands)


def _quoted(words: Sequence[str]) -> str:
    return "".join(f" {shlex.quote(word)}" for word in words)


def _narrowed(rest: Sequence[str], wrong: Sequence[str]) -> str:
    """Return as few options as possible that select `rest` from what did not succeed."""
    return _options("exclude", wrong) if len(wrong) < len(rest) > _NAMES_LISTED else _options("select", rest)


def _options(kind: str, names: Sequence[str]) -> str:
    """Return one option for each name, quoted for a shell if needed."""
    return "".join(f" --{kind}{'=' if name.startswith('-') else ' '}{shlex.quote(name)}" for name in names)
