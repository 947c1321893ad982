"""What refreshes broke and repaired (`verify: validate` and `content`): by model, with links to the pages in Omni."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.engine.outcome import DocumentIssues, Outcome
from orchestrator.report.links import document_link
from orchestrator.report.report import Report
from orchestrator.text import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueEntry:
    """A document with its issues, or the issues of the model itself, which have no name. `link` is the page in Omni, or empty."""

    name: str
    lines: tuple[str, ...]
    link: str = ""
    folder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIssues:
    """What the refresh of one model and branch broke (`new`) and repaired (`fixed`). `outcome` is the first one with it."""

    outcome: Outcome
    new: tuple[IssueEntry, ...]
    fixed: tuple[IssueEntry, ...]

    @property
    def words(self) -> str:
        """The counts, for example `2 documents broke, 1 repaired`."""
        content, validation = self.outcome.content, self.outcome.validation
        if content is not None:
            counts = ((content.new_documents, "{} broke"), (content.fixed_documents, "{} repaired"))
            noun = "document"
        elif validation is not None:
            counts = ((len(validation.new), "new {}"), (len(validation.fixed), "{} fixed"))
            noun = "validation issue"
        else:
            return ""
        told = [(count, phrase) for count, phrase in counts if count]
        return ", ".join(f"{count} {phrase.format(plural(noun, count))}" for count, phrase in told)


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
        return ModelIssues(
            outcome=outcome, new=_documents(content.new, address), fixed=_documents(content.fixed, address)
        )
    new, fixed = (
        (IssueEntry(name="", lines=lines),) if lines else ()
        for lines in ((validation.new, validation.fixed) if validation is not None else ((), ()))
    )
    return ModelIssues(outcome=outcome, new=new, fixed=fixed)


def _documents(documents: Iterable[DocumentIssues], address: str | None) -> tuple[IssueEntry, ...]:
    return tuple(
        IssueEntry(name=d.name, lines=d.issues, link=document_link(address, d.identifier), folder=d.folder)
        for d in documents
    )
