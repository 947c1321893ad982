"""One phrase says how a run ended, the same in every format."""

from dataclasses import replace

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.report.as_html import render_html
from orchestrator.report.as_markdown import render_markdown
from orchestrator.report.findings import headline
from orchestrator.report.report import Report
from orchestrator.report.summary import render_summary
from tests.report.reports import make_facts, make_outcome


def report_of(*statuses: Status, exit_code: int = 0) -> Report:
    """A report with these statuses."""
    return Report(
        run=make_facts(), outcomes=tuple(make_outcome(n, s) for n, s in enumerate(statuses)), exit_code=exit_code
    )


@pytest.mark.parametrize(
    "report, says",
    [
        (report_of(), "nothing to do: nothing was selected"),
        (report_of(Status.SKIPPED), "nothing to do: the target was skipped"),
        (report_of(Status.SKIPPED, Status.SKIPPED), "nothing to do: all 2 targets were skipped"),
        (report_of(Status.SUCCEEDED, Status.SKIPPED), "1 model refreshed, 1 skipped"),
        (report_of(Status.SUCCEEDED, Status.SUCCEEDED), "all 2 models refreshed"),
        (report_of(Status.ACCEPTED, Status.SKIPPED), "1 refresh accepted and not followed, 1 skipped"),
        (report_of(Status.SUCCEEDED), "1 model refreshed"),
        (report_of(Status.SUCCEEDED, Status.FAILED, exit_code=1), "1 of 2 targets did not succeed"),
    ],
)
def test_every_format_says_the_same(report: Report, says: str) -> None:
    """A run with nothing to do says so; one that did not succeed does not look like a good one."""
    assert headline(report) == says
    assert says in render_markdown(report)
    capital = says[0].upper() + says[1:]
    assert render_summary(report, width=100, color=False).startswith(capital)
    assert f"<h1>{capital}</h1>" in render_html(report)
    assert render_markdown(report).startswith("## ✅") is (report.exit_code == 0)


def test_a_rehearsals_headline_is_marked() -> None:
    """The mark stands before anything else."""
    report = report_of(Status.SUCCEEDED)
    report = replace(report, run=replace(report.run, simulated=True))
    assert render_summary(report, width=100, color=False).startswith("SIMULATED: ")
    assert render_markdown(report).startswith("## ✅ omni-refresh SIMULATED: ")
    assert "<h1>SIMULATED: 1 model refreshed</h1>" in render_html(report)
