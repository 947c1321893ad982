"""`OmniRefreshOperator`: a manifest as one task of Airflow 3.1 or later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import Asset, AssetAlias, BaseOperator
from airflow.sdk.log import mask_secret

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from orchestrator.airflow.task_run import BackgroundRun
    from orchestrator.engine.outcome import Outcome
    from orchestrator.manifest.manifest import Manifest
    from orchestrator.report.report import Report

Texts = str | Sequence[str] | None


class OmniRefreshFailed(AirflowException):
    """Some targets did not succeed. A retry of the task sends only those."""


class OmniRefreshStopped(AirflowException):
    """Airflow stopped the task before the run was done. A retry of the task continues the run."""


class OmniRefreshOperator(BaseOperator):
    """Refresh the models of a manifest, follow their jobs, and push the result as XCom.

    `manifest` is a path. `omni_conn_id` names a connection of type `omni`: it sets OMNI_BASE_URL, OMNI_API_TOKEN and the
    variables in its extra, for the manifest alone; None takes the worker's environment as it is. `state` is the state
    folder (default: the worker's). `on_failed` says what the task becomes if targets did not succeed: failed, skipped, or
    successful. The other parameters have the names and meanings of the command line's options.

    A retry continues the run or sends what did not succeed; a cleared task starts a new run.
    """

    template_fields: Sequence[str] = (
        *("manifest", "select", "exclude", "ddl", "ddl_list", "set_values", "dbt_target", "dbt_state", "changed"),
        *("deadline", "report", "omni_conn_id", "state"),
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
        on_failed: Literal["fail", "skip", "ignore"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_failed not in {"fail", "skip", "ignore"}:
            raise ValueError(f"on_failed is fail, skip or ignore, not {on_failed!r}")
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
        self.on_failed = on_failed
        self._background: BackgroundRun | None = None
        self._killed = False

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the manifest, or what is left of it since the task's last try."""
        from orchestrator import api
        from orchestrator.airflow.task_run import BackgroundRun, newest_outcomes, run_key, short_text
        from orchestrator.app.context import Context
        from orchestrator.app.key_history import reports_of_key
        from orchestrator.errors import OmniRefreshError, UsageError
        from orchestrator.journal.database import JournalError
        from orchestrator.log.redaction import Redactor

        task = context["ti"]
        try:
            environ = self._environ()
            manifest = api.load_manifest(self.manifest, environ=environ)
            _mask(manifest)
            key = run_key(task)
            nothing_observed = Context(observe=lambda _: None, environ=environ, redactor=Redactor(()))
            earlier = reports_of_key(key, nothing_observed, self.state)
            if earlier and earlier[-1].exit_code == 0:
                self.log.info("run %s succeeded in an earlier try: nothing is sent", earlier[-1].run.id)
                return self._end(context, manifest, earlier[-1], newest_outcomes(earlier), ())
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
                key=key,
                state=self.state,
                environ=environ,
            )
            run = BackgroundRun(lambda observe: start(on_event=observe))
            report, paths = self._follow(run, task)
        except JournalError as error:
            raise AirflowException(short_text(error)) from None
        except UsageError as error:
            raise AirflowFailException(short_text(error)) from None
        except OmniRefreshError as error:
            raise AirflowException(short_text(error)) from None
        if not report.outcomes:
            raise AirflowSkipException("nothing was selected")
        return self._end(context, manifest, report, newest_outcomes((*earlier, report)), paths)

    def _follow(self, run: BackgroundRun, task: Any) -> tuple[Report, list[str]]:
        """Write the run's events to the log until it has ended; return its report and the files that it wrote."""
        from orchestrator.airflow.task_run import log_event
        from orchestrator.engine.events import ReportWritten, RunContinued, RunStarted

        self._background = run
        run_id: str | None = None
        paths = []
        try:
            if self._killed:
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
        if self._killed:
            raise OmniRefreshStopped(
                "the task was stopped. Jobs that were started go on in Omni, which cannot cancel them;"
                " the next try checks them and sends the rest"
            )
        return report, paths

    def _warn_of_lost_state(self, task: Any) -> None:
        """Warn if a run starts in a try that is not the first one since the task was created or cleared."""
        if task.try_number > task.max_tries - (self.retries or 0) + 1:
            self.log.warning(
                "this is try %s, and the state folder knows no run of an earlier try: if there was one, on another worker,"
                " this try sends its refreshes again",
                task.try_number,
            )

    def _end(
        self, context: Any, manifest: Manifest, report: Report, outcomes: tuple[Outcome, ...], paths: Sequence[str]
    ) -> dict[str, Any]:
        """Push the result and the asset events; raise if targets did not succeed."""
        from orchestrator.airflow.task_run import asset_events, failure_text, make_result
        from orchestrator.report.findings import KEY_REFUSED

        result = make_result(report, outcomes, paths)
        addresses = {name: instance.base_url for name, instance in manifest.instances.items()}
        for alias in self.outlets:
            if isinstance(alias, AssetAlias):
                for uri, details in asset_events(outcomes, addresses, report.run.id):
                    context["outlet_events"][alias].add(Asset(uri=uri), extra=details)
        if report.exit_code == 0 or self.on_failed == "ignore":
            return result
        # a task that raises returns nothing, and what did not succeed is what others want to read
        context["ti"].xcom_push(key="return_value", value=result)
        text = failure_text(report)
        if self.on_failed == "skip":
            raise AirflowSkipException(text)
        raise AirflowFailException(text) if report.exit_code == KEY_REFUSED else OmniRefreshFailed(text)

    def on_kill(self) -> None:
        """Stop the run. Airflow calls this in its signal handler; the run then has 5 s until it is killed."""
        self._killed = True
        if self._background is not None:
            self._background.stop()

    def _environ(self) -> Any:
        """Return the variables that the manifest may name."""
        import os

        from orchestrator.airflow.hook import OmniHook

        return os.environ if self.omni_conn_id is None else OmniHook(self.omni_conn_id).environ()


def _mask(manifest: Manifest) -> None:
    """Mask each key of the manifest, wherever it was read from, in the logs of the task and of its supervisor."""
    keys = [key.secret for instance in manifest.instances.values() for key in instance.keys]
    for secret in (*manifest.secrets, *keys):
        if secret is not None:
            mask_secret(secret.reveal())


def _texts(value: Texts) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)
