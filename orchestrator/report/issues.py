"""What refreshes broke and repaired (`verify: validate` and `content`): by model, with the pages in Omni."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.engine.outcome import Outcome
from orchestrator.report.links import document_link
from orchestrator.report.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueEntry:
    """A document with its issues; or issues of the model itself, with an empty name. `link` is its page in Omni, or empty."""

    name: str
    lines: tuple[str, ...]
    link: str = ""
    folder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIssues:
    """What the refresh of one model and branch broke (`new`) and repaired (`fixed`). `outcome` is the first that says so."""

    outcome: Outcome
    new: tuple[IssueEntry, ...]
    fixed: tuple[IssueEntry, ...]

    @property
    def words(self) -> str:
        """The counts, for example `2 documents broke, 1 repaired`."""
        content, validation = self.outcome.content, self.outcome.validation
        if content is not None:
            broke, repaired = content.new_documents, content.fixed_documents
            words = [f"{broke} {_documents(broke)} broke"] if broke else []
            return ", ".join(
                words + ([f"{repaired} {'' if broke else _documents(repaired) + ' '}repaired"] if repaired else [])
            )
        new, fixed = (len(validation.new), len(validation.fixed)) if validation is not None else (0, 0)
        words = [f"{new} new {_issues(new)}"] if new else []
        return ", ".join(words + ([f"{fixed} {'' if new else _issues(fixed) + ' '}fixed"] if fixed else []))


def issues_of(report: Report) -> tuple[ModelIssues, ...]:
    """Return what the refreshes broke and repaired, in the report's order: once for each model and branch."""
    found: dict[tuple[str, str | None, str | None, bool], ModelIssues] = {}
    for outcome in report.outcomes:
        if outcome.new_issues or outcome.fixed_issues:
            address = report.run.instances.get(outcome.instance)
            key = (outcome.instance, outcome.model_id, outcome.branch_id, outcome.content is not None)
            found.setdefault(key, _model_issues(outcome, address))
    return tuple(found.values())


def issue_lines(outcome: Outcome, address: str | None) -> list[str]:
    """Return the new issues of a target as text, each line with what it is; a document's first line has its page in Omni."""
    lines = []
    for entry in _model_issues(outcome, address).new:
        for number, line in enumerate(entry.lines):
            if not entry.name:
                lines.append(f"new validation issue: {line}")
                continue
            link = f" ({entry.link})" if entry.link and not number else ""
            lines.append(f"broken document: {entry.name}{link}: {line}")
    return lines


def brought(outcomes: Sequence[Outcome]) -> str:
    """Return what targets with new issues did: `broke content`, or `brought new validation issues`."""
    return "broke content" if all(o.content is not None for o in outcomes) else "brought new validation issues"


def _model_issues(outcome: Outcome, address: str | None) -> ModelIssues:
    content, validation = outcome.content, outcome.validation
    if content is not None:
        new, fixed = (
            tuple(
                IssueEntry(name=d.name, lines=d.issues, link=document_link(address, d.identifier), folder=d.folder)
                for d in documents
            )
            for documents in (content.new, content.fixed)
        )
        return ModelIssues(outcome=outcome, new=new, fixed=fixed)
    new, fixed = (
        (IssueEntry(name="", lines=lines),) if lines else ()
        for lines in ((validation.new, validation.fixed) if validation is not None else ((), ()))
    )
    return ModelIssues(outcome=outcome, new=new, fixed=fixed)


def _documents(count: int) -> str:
    return "document" if count == 1 else "documents"


def _issues(count: int) -> str:
    return "validation issue" if count == 1 else "validation issues"
