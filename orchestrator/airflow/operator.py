"""`OmniRefreshOperator`: a manifest as one task of Airflow 3.1 or later."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import Asset, AssetAlias, BaseOperator
from airflow.sdk.log import mask_secret

from orchestrator.clock import real_clock

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from orchestrator.airflow.task_run import BackgroundRun
    from orchestrator.app.history import KeyHistory
    from orchestrator.engine.outcome import Outcome
    from orchestrator.manifest.manifest import Manifest
    from orchestrator.report.report import Report

Texts = str | Sequence[str] | None

_LATER_S = 300.0
"""How long after the deadline Airflow itself ends a trigger, in seconds."""
_LEASE_PATIENCE_S = 60.0
_LOOK_EVERY_S = 5.0
"""A killed try keeps its locks on shared state until its lease ends: the next try waits for that."""


class OmniRefreshFailed(AirflowException):
    """Some targets did not succeed. A retry of the task sends only those."""


class OmniRefreshStopped(AirflowException):
    """Airflow stopped the task before the run was done. A retry of the task continues the run."""


class OmniRefreshOperator(BaseOperator):
    """Refresh the models of a manifest, follow their jobs, and push the result as XCom.

    `manifest` is a path. `omni_conn_id` names a connection of type `omni`: it sets OMNI_BASE_URL, OMNI_API_TOKEN and the
    variables in its extra, for the manifest alone; None takes the worker's environment as it is. `state` is the state
    folder (default: the worker's), `state_conn_id` instead a connection of type `postgres` whose database is the state that
    all workers share. `on_failed` says what the task becomes if targets did not succeed: failed, skipped, or successful. The
    other parameters have the names and meanings of the command line's options.

    With `deferrable`, which needs `state_conn_id`, the task submits, and the triggerer follows the jobs.

    A retry continues the run or sends what did not succeed; a cleared task starts a new run.
    """

    template_fields: Sequence[str] = (
        *("manifest", "select", "exclude", "ddl", "ddl_list", "set_values", "dbt_target", "dbt_state", "changed"),
        *("deadline", "report", "omni_conn_id", "state", "state_conn_id"),
    )
    ui_color = "#eef3ff"

    def __init__(
        self,
        *,
        manifest: str,
        select: Texts = None,
        exclude: Texts = None,
        allow_empty: bool = False,
        ddl: Texts = None,
        ddl_list: Texts = None,
        set_values: dict[str, str] | None = None,
        dialect: str | None = None,
        default_schema: str | None = None,
        strict: bool = False,
        dbt_target: str | None = None,
        dbt_state: str | None = None,
        changed: Texts = None,
        max_failures: int | None = None,
        fail_on_new_issues: bool = False,
        deadline: str | None = None,
        grace: str = "3s",
        rate: int | None = None,
        report: Texts = None,
        omni_conn_id: str | None = "omni_default",
        state: str | None = None,
        state_conn_id: str | None = None,
        on_failed: Literal["fail", "skip", "ignore"] = "fail",
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_failed not in {"fail", "skip", "ignore"}:
            raise ValueError(f"on_failed is fail, skip or ignore, not {on_failed!r}")
        if state and state_conn_id:
            raise ValueError("state and state_conn_id name two places for one state: remove one of them")
        if deferrable and not state_conn_id:
            raise ValueError("deferrable needs state_conn_id: the triggerer continues the run from a shared state")
        self.manifest = manifest
        self.select = select
        self.exclude = exclude
        self.allow_empty = allow_empty
        self.ddl = ddl
        self.ddl_list = ddl_list
        self.set_values = set_values
        self.dialect = dialect
        self.default_schema = default_schema
        self.strict = strict
        self.dbt_target = dbt_target
        self.dbt_state = dbt_state
        self.changed = changed
        self.max_failures = max_failures
        self.fail_on_new_issues = fail_on_new_issues
        self.deadline = deadline
        self.grace = grace
        self.rate = rate
        self.report = report
        self.omni_conn_id = omni_conn_id
        self.state = state
        self.state_conn_id = state_conn_id
        self.deferrable = deferrable
        self.on_failed = on_failed
        self._background: BackgroundRun[Report] | None = None
        self._killed = threading.Event()

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the manifest, or what is left of it since the task's last try."""
        from orchestrator import api
        from orchestrator.airflow.task_run import BackgroundRun, newest_outcomes, run_key
        from orchestrator.errors import LockedError, RunDetached

        task = context["ti"]
        began_at = real_clock().utcnow().timestamp()
        with _errors_of_airflow():
            environ, state = self._environ(), self._state()
            manifest = api.load_manifest(self.manifest, environ=environ)
            _mask(manifest)
            earlier = self._history(task, environ, state)
            if earlier.reports and earlier.reports[-1].exit_code == 0:
                self.log.info("run %s succeeded in an earlier try: nothing is sent", earlier.reports[-1].run.id)
                return self._end(context, earlier.reports[-1], newest_outcomes(earlier.reports), ())
            start = partial(
                api.run,
                manifest,
                select=_texts(self.select),
                exclude=_texts(self.exclude),
                allow_empty=self.allow_empty,
                ddl=_texts(self.ddl),
                ddl_list=_texts(self.ddl_list),
                set_values=self.set_values,
                dialect=self.dialect,
                default_schema=self.default_schema,
                strict=self.strict,
                dbt_target=self.dbt_target,
                dbt_state=self.dbt_state,
                changed=_texts(self.changed),
                max_failures=self.max_failures,
                fail_on_new_issues=self.fail_on_new_issues,
                deadline=self.deadline,
                grace=self.grace,
                rate=self.rate,
                report=_texts(self.report),
                detach="submitted" if self.deferrable else None,
                key=run_key(task),
                state=state,
                environ=environ,
            )
            waited_s = 0.0
            while True:
                run = BackgroundRun(lambda observe: start(on_event=observe))
                try:
                    report, paths = self._follow(run, task)
                    break
                except RunDetached as left:
                    self.defer(**self._deferral(left.run_id, began_at))
                    raise
                except LockedError as locked:
                    if self.state_conn_id is None or waited_s >= _LEASE_PATIENCE_S or self._killed.wait(_LOOK_EVERY_S):
                        raise
                    if not waited_s:
                        self.log.info("%s: waiting, in case it is a try that was killed", locked.message)
                    waited_s += _LOOK_EVERY_S
            return self._end(context, report, newest_outcomes((*earlier.reports, report)), paths)

    def _deferral(self, run_id: str, began_at: float) -> dict[str, Any]:
        """Return the arguments of `defer`: the trigger follows the run to its end, or until the time of this try is up."""
        from orchestrator.airflow.trigger import OmniRunTrigger
        from orchestrator.durations import parse_duration

        assert self.state_conn_id is not None
        limits_s = [] if self.deadline is None else [parse_duration(str(self.deadline))]
        if self.execution_timeout is not None:
            limits_s.append(self.execution_timeout.total_seconds())
        deadline_at = began_at + min(limits_s) if limits_s else None
        left_s = None if deadline_at is None else max(0.0, deadline_at - real_clock().utcnow().timestamp())
        self.log.info("every refresh of run %s was sent: the triggerer follows the jobs", run_id)
        return {
            "trigger": OmniRunTrigger(
                run_id=run_id,
                state_conn_id=self.state_conn_id,
                omni_conn_id=self.omni_conn_id,
                deadline_at=deadline_at,
            ),
            "method_name": "execute_complete",
            # the trigger ends by itself; Airflow's own limit is for one that does not
            "timeout": None if left_s is None else timedelta(seconds=left_s + _LATER_S),
        }

    def execute_complete(self, context: Any, event: Any = None) -> dict[str, Any]:
        """End the task after its trigger. How the run ended is read from the state, whatever the event says.

        Airflow also calls this for a task that was cleared between its trigger's event and its end: it starts a new run.
        """
        from orchestrator import api
        from orchestrator.airflow.task_run import newest_outcomes

        with _errors_of_airflow():
            history = self._history(context["ti"], self._environ(), self._state())
            if not history.runs:
                return self.execute(context)
            if not history.has_ended:
                error = event.get("error") if isinstance(event, dict) else None
                raise AirflowException(f"the run has not ended: {error or 'its trigger ended first'}")
            report = history.reports[-1]
            for path in _texts(self.report):
                api.write_report(report, path)
            return self._end(context, report, newest_outcomes(history.reports), _texts(self.report))

    def _history(self, task: Any, environ: Any, state: str | None) -> KeyHistory:
        """Return the runs of this task's earlier tries, and their reports."""
        from orchestrator.airflow.task_run import run_key
        from orchestrator.app.context import make_context
        from orchestrator.app.history import history_of_key

        return history_of_key(run_key(task), make_context(environ), state)

    def _follow(self, run: BackgroundRun[Report], task: Any) -> tuple[Report, list[str]]:
        """Write the run's events to the log until it has ended; return its report and the files that it wrote."""
        from orchestrator.airflow.task_run import log_event
        from orchestrator.engine.events import ReportWritten, RunContinued, RunStarted

        self._background = run
        run_id: str | None = None
        paths = []
        try:
            if self._killed.is_set():
                run.stop()
            for event in run.events():
                if isinstance(event, RunStarted | RunContinued) and run_id is None:
                    run_id = event.run_id
                    task.xcom_push(key="run_id", value=run_id)
                    if isinstance(event, RunStarted):
                        self._warn_of_lost_state(task)
                elif isinstance(event, ReportWritten):
                    paths.append(event.path)
                log_event(self.log, event)
            report = run.result()
        except asyncio.CancelledError:
            pass
        except BaseException:
            # the execution timeout, or a fault: the run ends in order before the task does
            run.stop()
            for event in run.events():
                log_event(self.log, event)
            raise
        if self._killed.is_set():
            raise OmniRefreshStopped(
                "the task was stopped. Jobs that were started keep running in Omni, which cannot cancel them;"
                " the next try checks them and sends the rest"
            )
        return report, paths

    def _warn_of_lost_state(self, task: Any) -> None:
        """Warn if a run starts in a try that is not the first one since the task was created or cleared."""
        if task.try_number > task.max_tries - (self.retries or 0) + 1:
            self.log.warning(
                "this is try %s, and the state knows no run of an earlier try: if there was one, on another worker,"
                " this try sends its refreshes again",
                task.try_number,
            )

    def _end(self, context: Any, report: Report, outcomes: tuple[Outcome, ...], paths: Sequence[str]) -> dict[str, Any]:
        """Push the result and the asset events; raise if targets did not succeed."""
        from orchestrator.airflow.task_run import asset_events, failure_text, make_result
        from orchestrator.report.findings import KEY_REFUSED

        if not report.outcomes:
            raise AirflowSkipException("nothing was selected")
        result = make_result(report, outcomes, paths)
        for alias in self.outlets:
            if isinstance(alias, AssetAlias):
                for uri, details in asset_events(outcomes, report.run.instances, report.run.id):
                    context["outlet_events"][alias].add(Asset(uri=uri), extra=details)
        if report.exit_code == 0 or self.on_failed == "ignore":
            return result
        # a task that raises returns nothing, and other tasks want to read what did not succeed
        context["ti"].xcom_push(key="return_value", value=result)
        text = failure_text(report)
        if self.on_failed == "skip":
            raise AirflowSkipException(text)
        raise AirflowFailException(text) if report.exit_code == KEY_REFUSED else OmniRefreshFailed(text)

    def on_kill(self) -> None:
        """Stop the run. Airflow calls this in its signal handler; the run then has 5 s until it is killed."""
        self._killed.set()
        if self._background is not None:
            self._background.stop()

    def _environ(self) -> Any:
        """Return the variables that the manifest may name."""
        import os

        from orchestrator.airflow.hook import OmniHook

        return os.environ if self.omni_conn_id is None else OmniHook(self.omni_conn_id).environ()

    def _state(self) -> str | None:
        """Return where the state is; None for what the environment says."""
        from orchestrator.airflow.hook import StateHook

        return self.state if self.state_conn_id is None else StateHook.url(self.state_conn_id)


@contextmanager
def _errors_of_airflow() -> Iterator[None]:
    """Raise errors as Airflow's: those that a later try can cure are retried, a wrong manifest is not."""
    from orchestrator.airflow.task_run import short_text
    from orchestrator.errors import OmniRefreshError, UsageError
    from orchestrator.journal.database import JournalError

    try:
        yield
    except OmniRefreshError as error:
        is_final = isinstance(error, UsageError) and not isinstance(error, JournalError)
        raise (AirflowFailException if is_final else AirflowException)(short_text(error)) from None


def _mask(manifest: Manifest) -> None:
    """Mask each key of the manifest, wherever it was read from, in the logs of the task and of its supervisor."""
    keys = [key.secret for instance in manifest.instances.values() for key in instance.keys]
    for secret in (*manifest.secrets, *keys):
        if secret is not None:
            mask_secret(secret.reveal())


def _texts(value: Texts) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)
