"""JUnit XML for CI systems: one suite per connection, one case per target, valid XML 1.0 whatever the text is.

`failure`: the refresh was sent and did not succeed. `error`: it could not be sent, or its result is unknown. `skipped`: omitted
on purpose.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from datetime import UTC
from typing import Final
from xml.etree import ElementTree as ET

from orchestrator.engine.outcome import MESSAGE_LIMIT, Failure, Outcome, Status
from orchestrator.report.causes import issue_failure, short, skip_reason
from orchestrator.report.findings import SIMULATED_NOTE, against_before, issue_outcomes
from orchestrator.report.issues import issue_lines
from orchestrator.report.report import Report
from orchestrator.text import clean
from orchestrator.values import format_stamp

_TEXT_LIMIT: Final = 300
_NAME_LIMIT: Final = 255
"""The most characters of a name that CI servers keep. A longer name is cut and ends in a digest of the whole name."""

_WARNINGS_SHOWN: Final = 20


def render_junit(report: Report) -> str:
    r"""Return the run with one test suite for each connection, in the order of the first target of each.

    Names are unique and readable. What XML cannot hold is spelled out: `\x1b`.
    """
    issues = set(map(id, issue_outcomes(report)))
    elements = {id(o): "failure" if id(o) in issues else _element_of(o.status) for o in report.outcomes}
    root = ET.Element("testsuites", {"name": "omni-refresh", **_numbers(elements.values(), report.run.duration_s)})
    several = len({outcome.instance for outcome in report.outcomes}) > 1
    suites: dict[str, list[Outcome]] = {} if report.outcomes else {"omni-refresh": []}
    for outcome in report.outcomes:
        suites.setdefault(_suite_of(outcome, several=several), []).append(outcome)
    taken: set[str] = set()
    for number, (name, outcomes) in enumerate(suites.items()):
        spent_s = sum(outcome.duration_s or 0.0 for outcome in outcomes if outcome.covered_by is None)
        numbers = _numbers([elements[id(outcome)] for outcome in outcomes], spent_s)
        stamp = report.run.started_at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
        suite = ET.SubElement(root, "testsuite", {"name": name, **numbers, "timestamp": stamp})
        _add_properties(suite, report)
        for outcome in outcomes:
            address = report.run.instances.get(outcome.instance)
            _add_case(suite, outcome, elements[id(outcome)], _unique(outcome.name, taken), address)
        if report.run.warnings and not number:
            ET.SubElement(suite, "system-err").text = _lines(report.run.warnings)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _numbers(elements: Collection[str | None], duration_s: float) -> dict[str, str]:
    counts = Counter(elements)
    return {
        "tests": str(len(elements)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
        "time": f"{duration_s:.3f}",
    }


def _suite_of(outcome: Outcome, *, several: bool) -> str:
    name = _cut(outcome.connection or "connection not known")
    return f"{_cut(outcome.instance)} / {name}" if several else name


def _element_of(status: Status) -> str | None:
    """Return the element that a case of this status has. A case without one passed."""
    if status is Status.SKIPPED:
        return "skipped"
    if status.is_good:
        return None
    return "failure" if status.is_failure else "error"


def _add_properties(suite: ET.Element, report: Report) -> None:
    run = report.run
    properties = ET.SubElement(suite, "properties")
    facts = {
        "run.id": run.id,
        "run.trigger": run.trigger.value,
        "run.manifest": run.manifest_path,
        "run.interrupted": str(run.signal is not None).lower(),
        "run.simulated": str(run.simulated).lower(),
        "run.requests": str(run.requests),
        "run.throttled": str(run.throttled),
        "run.exit_code": str(report.exit_code),
    }
    if run.next_commands:
        facts["next"] = "; ".join(run.next_commands)
    if run.simulated:
        facts["note"] = SIMULATED_NOTE
    against = against_before(report.outcomes)
    if against is not None:
        facts["run.new_failures"] = str(len(against.new))
        facts["run.still_failing"] = str(len(against.still))
        facts["run.recovered"] = str(len(against.recovered))
    _fill(properties, facts)


def _add_case_properties(case: ET.Element, outcome: Outcome) -> None:
    """Add the target's results in earlier runs and its model's usual duration."""
    facts: dict[str, str] = {}
    if outcome.previous_status is not None:
        facts["previous_status"] = outcome.previous_status.value
    if outcome.failing_since is not None:
        facts["failing_since"] = format_stamp(outcome.failing_since)
    if outcome.usual_s is not None:
        facts["usual_s"] = f"{outcome.usual_s:.3f}"
    if facts:
        _fill(ET.SubElement(case, "properties"), facts)


def _fill(properties: ET.Element, facts: dict[str, str]) -> None:
    for name, value in facts.items():
        ET.SubElement(properties, "property", {"name": name, "value": clean(value)})


def _add_case(suite: ET.Element, outcome: Outcome, element: str | None, name: str, address: str | None) -> None:
    attributes = {"name": name, "classname": _cut(outcome.instance)}
    attributes["time"] = f"{outcome.duration_s or 0:.3f}"
    case = ET.SubElement(suite, "testcase", attributes)
    _add_case_properties(case, outcome)
    if element == "skipped":
        ET.SubElement(case, element, {"message": short(skip_reason(outcome) or "skipped", _TEXT_LIMIT)})
    elif element is not None:
        _add_failure(case, element, outcome.status, issue_failure(outcome) if outcome.status.is_good else outcome.error)
    facts = [f"status: {outcome.status}", *(f"job: {job}" for job in outcome.job_ids)]
    if outcome.covered_by is not None:
        facts.append(f"covered by: {outcome.covered_by}")
    facts += issue_lines(outcome, address)[:_WARNINGS_SHOWN]
    facts += [f"warning: {text}" for text in outcome.warnings[:_WARNINGS_SHOWN]]
    ET.SubElement(case, "system-out").text = _lines(facts)


def _add_failure(case: ET.Element, element: str, status: Status, error: Failure | None) -> None:
    error = error or Failure(kind=status.value, message=status.value, hint="")
    attributes = {"message": f"{status}: {short(error.message, _TEXT_LIMIT)}", "type": clean(error.kind)}
    child = ET.SubElement(case, element, attributes)
    number = f"HTTP {error.http_status}\n" if error.http_status else ""
    hint = f"\n{clean(error.hint)}" if error.hint else ""
    child.text = number + clean(error.message[:MESSAGE_LIMIT], keep_newlines=True) + hint


def _lines(texts: tuple[str, ...] | list[str]) -> str:
    return "\n".join(clean(text[:MESSAGE_LIMIT]) for text in texts)


def _cut(name: str) -> str:
    """Return the name on one line, at most `_NAME_LIMIT` characters, the same in every run."""
    shown = " ".join(clean(name[:MESSAGE_LIMIT]).split()) or "(no name)"
    if len(shown) <= _NAME_LIMIT and len(name) <= MESSAGE_LIMIT:
        return shown
    mark = f"... {hashlib.sha256(name.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"
    return shown[: _NAME_LIMIT - len(mark)] + mark


def _unique(name: str, taken: set[str]) -> str:
    """Return the name, with a number if cleaning made it equal to another."""
    shown = base = _cut(name)
    number = 1
    while shown in taken:
        number += 1
        end = f" ({number})"
        shown = base[: _NAME_LIMIT - len(end)] + end
    taken.add(shown)
    return shown
