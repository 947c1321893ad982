"""An earlier run's document read back into a Report; fields that this version does not know are passed over."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from orchestrator.engine.outcome import CallKind, CallMade, Failure, Outcome, Status, Validation
from orchestrator.engine.run_stats import BudgetSample
from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import Mode
from orchestrator.report.document import SCHEMA_VERSION
from orchestrator.report.exit_code import SIGNAL_BASE
from orchestrator.report.report import Report, RunFacts, Trigger

_Part = TypeVar("_Part")
_Word = TypeVar("_Word", bound=StrEnum)

_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")


def parse_document(document: object) -> Report:
    """The report that a document of schema version 1 holds.

    Raises UsageError naming the place where it is not one.
    """
    top = _Fields(document, "")
    version = top.number("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"the report has schema version {version:g}, this program reads {SCHEMA_VERSION}:"
            " read it with the omni-refresh that wrote it"
        )
    summary = top.part("summary", lambda fields: fields)
    return Report(
        run=top.part("run", lambda fields: _parse_run(fields, summary)),
        outcomes=top.parts("outcomes", _parse_outcome),
        exit_code=summary.count("exit_code"),
    )


def parse_row(row: object) -> Outcome:
    """The outcome that a line of the `.jsonl` format holds; raises UsageError naming what is wrong."""
    return _parse_outcome(_Fields(row, ""))


def _parse_run(fields: _Fields, summary: _Fields) -> RunFacts:
    code = summary.count("exit_code")
    return RunFacts(
        id=fields.text("id"),
        trigger=fields.word("trigger", Trigger),
        manifest_path=fields.part("manifest", lambda manifest: manifest.text("path")),
        manifest_sha256=fields.part("manifest", lambda manifest: manifest.text("sha256")),
        manifest_identity=fields.part("manifest", lambda manifest: manifest.maybe("identity", manifest.text)) or "",
        started_at=fields.moment("started_at"),
        finished_at=fields.moment("finished_at"),
        duration_s=fields.number("duration_s"),
        signal=code - SIGNAL_BASE if fields.flag("interrupted") and code > SIGNAL_BASE else None,
        resumed_from=fields.maybe("resumed_from", fields.text),
        simulated=fields.flag("simulated"),
        new_issues_fail=fields.flag("new_issues_fail"),
        retried_from=fields.maybe("retried_from", fields.text),
        requests=summary.count("requests"),
        polls=summary.count("polls"),
        throttled=summary.count("throttled"),
        refused_instances=fields.texts("refused_instances"),
        quota=fields.maybe("quota", fields.mapping),
        warnings=fields.texts("warnings"),
        budget=fields.maybe("budget", lambda key: fields.parts(key, _parse_sample)) or (),
    )


def _parse_sample(fields: _Fields) -> BudgetSample:
    return BudgetSample(
        t_s=fields.number("t_s"), used=fields.count("used"), requests=fields.count("requests"), held=fields.flag("held")
    )


def _parse_outcome(fields: _Fields) -> Outcome:
    return Outcome(
        name=fields.text("name"),
        instance=fields.text("instance"),
        model_id=fields.maybe("model_id", fields.text),
        status=fields.word("status", Status),
        branch=fields.maybe("branch", fields.text),
        branch_id=fields.maybe("branch_id", fields.text),
        connection=fields.maybe("connection", fields.text),
        mode=fields.word("mode", Mode),
        schemas=fields.texts("schemas"),
        tables=fields.texts("tables"),
        tags=fields.texts("tags"),
        covered_by=fields.maybe("covered_by", fields.text),
        job_ids=fields.texts("job_ids"),
        job_status=fields.maybe("job_status", fields.text),
        submitted_at=fields.maybe("submitted_at", fields.moment),
        finished_at=fields.maybe("finished_at", fields.moment),
        duration_s=fields.maybe("duration_s", fields.number),
        queued_s=fields.maybe("queued_s", fields.number),
        attempts=fields.count("attempts"),
        polls=fields.count("polls"),
        throttled=fields.count("throttled"),
        warnings=fields.texts("warnings"),
        promotion_pending=fields.flag("promotion_pending"),
        verified=fields.maybe("verified", fields.flag),
        validation=fields.maybe("validation", lambda key: fields.part(key, _parse_validation)),
        previous_status=fields.maybe("previous_status", lambda key: fields.word(key, Status)),
        error=fields.maybe("error", lambda key: fields.part(key, _parse_failure)),
        calls=fields.maybe("calls", lambda key: fields.parts(key, _parse_call)) or (),
        usual_s=fields.maybe("usual_s", fields.number),
        failing_since=fields.maybe("failing_since", fields.moment),
    )


def _parse_call(fields: _Fields) -> CallMade:
    return CallMade(
        number=fields.count("number"),
        what=fields.word("what", CallKind),
        left_at=fields.moment("left_at"),
        end=fields.text("end"),
        http_status=fields.maybe("http_status", fields.count),
        word=fields.maybe("word", fields.text),
        took_s=fields.maybe("took_s", fields.number),
        wait_s=fields.maybe("wait_s", fields.number),
    )


def _parse_validation(fields: _Fields) -> Validation:
    return Validation(new=fields.texts("new"), fixed=fields.texts("fixed"))


def _parse_failure(fields: _Fields) -> Failure:
    return Failure(
        kind=fields.text("kind"),
        message=fields.text("message"),
        hint=fields.text("hint"),
        http_status=fields.maybe("http_status", fields.count),
        last_status=fields.maybe("last_status", fields.text),
    )


class _Fields:
    """One JSON object of the document and where it stands; each method gives a field in its type or raises UsageError."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise UsageError(f"not a report: {path or 'the document'} is no object")
        self._values = value
        self._path = path

    def _wrong(self, key: str, wanted: str) -> UsageError:
        found = "missing" if key not in self._values else f"{str(self._values[key])[:80]!r}"
        return UsageError(f"not a report of schema version 1: {self._path}{key} must be {wanted}, it is {found}")

    def maybe(self, key: str, read: Callable[[str], _Part]) -> _Part | None:
        return None if self._values.get(key) is None else read(key)

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts")
        return tuple(value)

    def number(self, key: str) -> float:
        value = self._values.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(key, "a number")
        return value

    def count(self, key: str) -> int:
        value = self._values.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "a whole number")
        return value

    def flag(self, key: str) -> bool:
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def word(self, key: str, words: type[_Word]) -> _Word:
        value = self._values.get(key)
        known = {word.value: word for word in words}
        if not isinstance(value, str) or value not in known:
            raise self._wrong(key, "one of " + ", ".join(known))
        return known[value]

    def moment(self, key: str) -> datetime:
        value = self._values.get(key)
        if not isinstance(value, str) or not _STAMP.fullmatch(value):
            raise self._wrong(key, "a time like 2026-11-25T02:00:00.123Z")
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self._wrong(key, "a time like 2026-11-25T02:00:00.123Z") from None

    def mapping(self, key: str) -> Mapping[str, Mapping[str, object]]:
        value = self._values.get(key)
        if not isinstance(value, Mapping) or not all(isinstance(item, Mapping) for item in value.values()):
            raise self._wrong(key, "an object of objects")
        return {str(name): dict(item) for name, item in value.items()}

    def part(self, key: str, read: Callable[[_Fields], _Part]) -> _Part:
        return read(_Fields(self._values.get(key), f"{self._path}{key}."))

    def parts(self, key: str, read: Callable[[_Fields], _Part]) -> tuple[_Part, ...]:
        value = self._values.get(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return tuple(read(_Fields(item, f"{self._path}{key}[{index}].")) for index, item in enumerate(value))
