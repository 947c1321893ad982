"""The HTML report: one file that asks for nothing, to be read in a browser, on a phone, in the dark, on paper, without scripts.

Every text goes through `clean` and autoescape on its way into the template; the page's policy runs only its own script.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from orchestrator import __version__
from orchestrator.report.against import against_before, slow_outcomes
from orchestrator.report.causes import causes_of, group_warnings
from orchestrator.report.counts import bad_outcomes, count_statuses
from orchestrator.report.headline import SIMULATED, SIMULATED_NOTE, capitalized, headline, is_bad
from orchestrator.report.report import Report
from orchestrator.report.rows import CHANGES, changes_of, id_of, make_rows, name_of, say, text_of
from orchestrator.report.timeline import budget_words, make_budget_chart, make_timeline
from orchestrator.report.took import took
from orchestrator.text import clean

if TYPE_CHECKING:
    from jinja2 import Template

_CAUSES_SHOWN: Final = 40
_NAMES_SHOWN: Final = 12
_WARNINGS_SHOWN: Final = 30


def render_html(report: Report) -> str:
    """The page. 5,000 targets stay under 3 MiB; what is longer than it can be read is cut."""
    run, outcomes = report.run, report.outcomes
    timeline = make_timeline(report)
    length_s = timeline.length_s if timeline else run.duration_s
    causes, remarks = causes_of(report), group_warnings(run.warnings, outcomes)
    numbers = {id(outcome): number for number, outcome in enumerate(outcomes)}
    told = {
        id(outcome): number for number, cause in enumerate(causes[:_CAUSES_SHOWN], 1) for outcome in cause.outcomes[1:]
    }
    against, slow = against_before(outcomes), slow_outcomes(outcomes)
    changes = changes_of(against, slow)
    return _template().render(
        version=__version__,
        run=run,
        exit_code=report.exit_code,
        headline=(f"{SIMULATED}: " if run.simulated else "") + capitalized(headline(report)),
        simulated_note=SIMULATED_NOTE if run.simulated else "",
        bad=len(bad_outcomes(outcomes)),
        is_bad=is_bad(report),
        total=len(outcomes),
        counts=[(status, count) for status, count in count_statuses(outcomes).items() if count],
        against=against,
        slow=slow,
        changes=[(change, count) for change in CHANGES if (count := sum(change in told for told in changes.values()))],
        budget_words=budget_words(run.budget).partition(", "),
        causes=causes[:_CAUSES_SHOWN],
        causes_hidden=len(causes[_CAUSES_SHOWN:]),
        remarks=remarks[:_WARNINGS_SHOWN],
        remarks_hidden=len(remarks[_WARNINGS_SHOWN:]),
        names_shown=_NAMES_SHOWN,
        number_of=lambda outcome: numbers[id(outcome)],
        timeline=timeline,
        has_usual=timeline is not None and any(bar.usual for lane in timeline.lanes for bar in lane.bars),
        budget=make_budget_chart(run.budget, length_s),
        rows=make_rows(outcomes, causes=told, changes=changes, today=run.started_at.date()),
        learned=[
            f"{instance}: " + ", ".join(f"{key} {value}" for key, value in facts.items())
            for instance, facts in (run.quota or {}).items()
        ],
        started=_stamp(run.started_at),
        finished=_stamp(run.finished_at),
    )


@cache
def _template() -> Template:
    """The template with the page's own style and script, and the policy that lets in these and nothing else."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {"took": took, "word": say, "name": name_of, "id": id_of, "text": text_of}
    style, *scripts = (environment.get_template(name).render() for name in ("report.css", "mark.js", "report.js"))
    environment.globals["policy"] = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:;"
        f" style-src {_hash(style)}; script-src {' '.join(map(_hash, scripts))}"
    )
    return environment.get_template("report.html.j2")


def _finalize(value: Any) -> Any:
    """Whatever the template prints: plain text is cleaned, the page's own parts and numbers are not text."""
    return clean(value) if type(value) is str else value


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
