"""Which format a path asks for, and a report in any of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePath
from typing import Final

from orchestrator.errors import UsageError
from orchestrator.report.report import Report


class Format(StrEnum):
    """A file format for reports; the value is the suffix that asks for it."""

    JSON = ".json"
    JSONL = ".jsonl"
    JUNIT = ".xml"
    MARKDOWN = ".md"
    HTML = ".html"
    CSV = ".csv"
    EXCEL_CSV = ".excel.csv"


SUFFIXES: Final = {suffix.value: suffix for suffix in Format}


def format_of(path: str | PurePath) -> Format:
    """The format that a report path's suffix asks for, in any case of its letters. Raises UsageError naming those there are."""
    name = PurePath(path).name.lower()
    suffix = Format.EXCEL_CSV if name.endswith(Format.EXCEL_CSV) else PurePath(path).suffix.lower()
    if suffix not in SUFFIXES:
        what = f"has the suffix {suffix!r}" if suffix else "has no suffix"
        raise UsageError(f"the report path {str(path)!r} {what}: the format follows it, one of {', '.join(SUFFIXES)}")
    return SUFFIXES[suffix]


def render(report: Report, wanted: Format) -> str:
    """The report's text in a format; what a format needs is imported when it is asked for."""
    match wanted:
        case Format.JSON:
            from orchestrator.report.as_json import render_json

            return render_json(report)
        case Format.JSONL:
            from orchestrator.report.as_jsonl import render_jsonl

            return render_jsonl(report.outcomes, simulated=report.run.simulated)
        case Format.JUNIT:
            from orchestrator.report.as_junit import render_junit

            return render_junit(report)
        case Format.MARKDOWN:
            from orchestrator.report.as_markdown import render_markdown

            return render_markdown(report)
        case Format.HTML:
            from orchestrator.report.as_html import render_html

            return render_html(report)
        case Format.CSV | Format.EXCEL_CSV:
            from orchestrator.report.as_csv import render_csv

            # Excel takes a file without the mark for the system's own encoding
            mark = "\ufeff" if wanted is Format.EXCEL_CSV else ""
            return mark + render_csv(
                report.outcomes, simulated=report.run.simulated, new_issues_fail=report.run.new_issues_fail
            )
