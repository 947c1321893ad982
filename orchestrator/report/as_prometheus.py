"""A run as metrics in Prometheus' text format, for the node exporter's textfile collector.

A file describes the latest run of one manifest. The times of each model's last success are kept from the earlier file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator import __version__
from orchestrator.engine.outcome import Status
from orchestrator.report.findings import count_statuses, has_run_before, is_new_failure, is_recovered
from orchestrator.report.report import Report
from orchestrator.text import clean

EARLIER_BYTES: Final = 32 << 20
"""The most bytes of an earlier file that are read."""

LAST_SUCCESS: Final = "omni_refresh_model_last_success_timestamp_seconds"

METRICS: Final = {
    "omni_refresh_build_info": "The version of omni-refresh that wrote this file.",
    "omni_refresh_run_start_timestamp_seconds": "When the latest run began.",
    "omni_refresh_run_end_timestamp_seconds": "When the latest run ended.",
    "omni_refresh_run_duration_seconds": "How long the latest run took.",
    "omni_refresh_run_exit_code": "The exit code of the latest run.",
    "omni_refresh_outcomes": "Targets of the latest run, by status.",
    "omni_refresh_new_failures": "Targets that failed in the latest run and did not in the run before.",
    "omni_refresh_recovered": "Targets that failed in the run before and succeeded in the latest one.",
    "omni_refresh_calls": "Calls of the latest run by what they were for and how they ended.",
    "omni_refresh_throttled_calls": "Calls of the latest run that were answered 429.",
    "omni_refresh_holds": "Pauses of keys after a 429 in the latest run.",
    "omni_refresh_budget_used_peak_ratio": "The largest share of the request budget that was in use at once.",
    "omni_refresh_budget_used_average_ratio": "The share of the request budget that was in use on average.",
    "omni_refresh_model_success": "Whether the model's latest refresh succeeded (1) or not (0).",
    "omni_refresh_model_duration_seconds": "How long the model's latest refresh took, from the call until its end.",
    LAST_SUCCESS: "When the model was last refreshed with success; 0 if it never was.",
}
"""Every metric, in the file's order, with its help; each is a gauge."""

_SERIES: Final = re.compile(LAST_SUCCESS + r"\{(.*)\} ([0-9]{1,12}(?:\.[0-9]{1,9})?)")
_LABEL: Final = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"(?:,|$)')
_UNESCAPED: Final = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_NAME_LIMIT: Final = 500

Labels = tuple[tuple[str, str], ...]
ModelKey = tuple[str, str]
"""An instance and a target's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetrics:
    """The data of a run's metrics. `calls` counts by purpose and end, `holds` by instance.

    `models` are all targets of the manifest, selected or not. Their last successes are kept, those of other models are
    dropped. `unfollowed` are the targets whose success no run sees: disabled ones, and those with `wait: false`.
    """

    report: Report
    calls: Mapping[tuple[str, str], int] = field(default_factory=dict)
    holds: Mapping[str, int] = field(default_factory=dict)
    models: Collection[ModelKey] = ()
    unfollowed: Collection[ModelKey] = ()


def render_metrics(metrics: RunMetrics, *, earlier: str = "") -> str:
    """Return the metrics as text. `earlier` is the file's previous content."""
    series = dict.fromkeys(METRICS, "")
    manifest = metrics.report.run.manifest_identity or metrics.report.run.manifest_path
    # a duplicate would make the whole file unreadable
    seen: set[tuple[str, str]] = set()
    for name, labels, value in _samples(metrics, earlier):
        written = ",".join(f'{label}="{_escape(text)}"' for label, text in (("manifest", manifest), *labels))
        if (name, written) not in seen:
            seen.add((name, written))
            series[name] += f"{name}{{{written}}} {_number(value)}\n"
    return "".join(
        f"# HELP {name} {METRICS[name]}\n# TYPE {name} gauge\n{lines}" for name, lines in series.items() if lines
    )


def _samples(metrics: RunMetrics, earlier: str) -> Iterator[tuple[str, Labels, float]]:
    report, run = metrics.report, metrics.report.run
    yield "omni_refresh_build_info", (("version", __version__),), 1
    yield "omni_refresh_run_start_timestamp_seconds", (), run.started_at.timestamp()
    yield "omni_refresh_run_end_timestamp_seconds", (), run.finished_at.timestamp()
    yield "omni_refresh_run_duration_seconds", (), run.duration_s
    yield "omni_refresh_run_exit_code", (), report.exit_code
    for status, count in count_statuses(report.outcomes).items():
        yield "omni_refresh_outcomes", (("status", status.value),), count
    if has_run_before(report.outcomes):
        yield "omni_refresh_new_failures", (), sum(map(is_new_failure, report.outcomes))
        yield "omni_refresh_recovered", (), sum(map(is_recovered, report.outcomes))
    for (purpose, end), count in sorted(metrics.calls.items()):
        yield "omni_refresh_calls", (("kind", purpose), ("status", end)), count
    yield "omni_refresh_throttled_calls", (), run.throttled
    for instance, count in sorted(metrics.holds.items()):
        yield "omni_refresh_holds", (("omni_instance", instance),), count
    shares = [sample.used / sample.requests for sample in run.budget if sample.requests]
    if shares:
        yield "omni_refresh_budget_used_peak_ratio", (), max(shares)
        yield "omni_refresh_budget_used_average_ratio", (), sum(shares) / len(shares)
    yield from _of_models(metrics, earlier)


def _of_models(metrics: RunMetrics, earlier: str) -> Iterator[tuple[str, Labels, float]]:
    report = metrics.report
    last = _last_successes(earlier)
    named = set(map(_model, metrics.models))
    kept = {model: at for model, at in last.items() if model in named}
    for outcome in report.outcomes:
        model = _model((outcome.instance, outcome.name))
        labels = _labels(model)
        if outcome.status is not Status.SKIPPED:
            yield "omni_refresh_model_success", labels, outcome.status.is_good
        if outcome.duration_s is not None:
            yield "omni_refresh_model_duration_seconds", labels, outcome.duration_s
        if outcome.status is Status.SUCCEEDED:
            kept[model] = (outcome.finished_at or report.run.finished_at).timestamp()
        elif model in last:
            kept[model] = last[model]
    accepted = [(o.instance, o.name) for o in report.outcomes if o.status is Status.ACCEPTED]
    unfollowed = set(map(_model, (*metrics.unfollowed, *accepted)))
    for model in named - unfollowed:
        kept.setdefault(model, 0.0)
    for model, at in sorted(kept.items()):
        yield LAST_SUCCESS, _labels(model), at


def _model(key: ModelKey) -> ModelKey:
    """Return the instance and name as labels have them."""
    return _label(key[0]), _label(key[1])


def _labels(model: ModelKey) -> Labels:
    # Prometheus gives each host a label `instance`
    return (("omni_instance", model[0]), ("model", model[1]))


def _last_successes(text: str) -> dict[ModelKey, float]:
    """Return when each model last succeeded, from an earlier file. Other lines are ignored."""
    found = {}
    for line in text.split("\n"):
        match = _SERIES.fullmatch(line)
        if match is not None:
            labels = {name: _unescape(value) for name, value in _LABEL.findall(match[1])}
            if "model" in labels and "omni_instance" in labels:
                found[labels["omni_instance"], labels["model"]] = float(match[2])
    return found


def _label(text: str) -> str:
    """Return a text for a label. Characters that cannot be shown, or are not UTF-8, are spelled out."""
    return clean(text[:_NAME_LIMIT])


def _escape(text: str) -> str:
    return _label(text).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _unescape(text: str) -> str:
    return re.sub(r"\\.", lambda match: _UNESCAPED.get(match[0], match[0]), text)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6f}".rstrip("0").rstrip(".")
