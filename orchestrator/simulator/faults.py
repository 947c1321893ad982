"""Faults: rules that match some calls and say how they fail."""

import random
import re
from collections import defaultdict
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from orchestrator.simulator.field_types import Count, ScenarioPart, Seconds, Text


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


def _header(text: str) -> str:
    if any(character in text for character in "\r\n\0"):
        raise ValueError("a header is one line")
    return text


class InjectedFault(ScenarioPart):
    """Something that goes wrong: for which calls, when, and how."""

    name: Text | None = None
    """A label for the call log; left out: the rule's number, from 1."""
    method: Literal["GET", "POST"] | None = None
    """Only calls of this method."""
    path: Annotated[str, AfterValidator(_regex)] = ""
    """Only calls whose path this regular expression is found in."""
    count: Literal["path", "rule"] = "path"
    """What `nth` and `every` count: the calls of each path, or all calls that the rule fits."""
    nth: tuple[Count, ...] = ()
    """At these calls, counted from 1."""
    every: Count | None = None
    """At each call whose number this divides."""
    p: Annotated[float, Field(ge=0, le=1)] | None = None
    """At each call with this probability."""
    always: bool = False
    """At each call."""
    from_s: Seconds | None = Field(default=None, alias="from")
    """Not before this moment. A rule with moments alone applies to each call between them."""
    until_s: Seconds | None = Field(default=None, alias="until")
    """Only before this moment."""
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    """The answer's status. Without `message`, `body` or `raw`, the answer has the documented text for it."""
    message: str | None = None
    """The words of an error in the instance's shape."""
    body: JsonValue = None
    """The answer's body, as JSON."""
    raw: str | None = None
    """The answer's body, as it is."""
    content_type: Annotated[Text, AfterValidator(_header)] | None = None
    """The body's type; left out: JSON, for `raw` HTML."""
    headers: dict[Annotated[Text, AfterValidator(_header)], Annotated[str, AfterValidator(_header)]] = Field(
        default_factory=dict
    )
    """Further headers, such as Retry-After or Location."""
    drop: Literal["reset", "close", "headers", "body"] | None = None
    """The connection is reset, or closed, without an answer; or closed within the answer's headers, or within its body."""
    effect: Literal["none", "before", "after"] | None = None
    """Whether a refresh starts: never; before the fault; or after it, once `delay` is over. Default: `none` if the answer is
    replaced or dropped, otherwise `before`.
    """
    delay: Seconds = 0.0
    """Seconds until the answer, or until the connection is dropped."""
    close_after: Seconds | None = None
    """Seconds after the answer until the idle connection is closed without notice."""

    @property
    def replaces(self) -> bool:
        """Whether the answer differs from the regular one."""
        return self.status is not None or self.drop is not None

    @property
    def starts(self) -> Literal["none", "before", "after"]:
        """Whether and when a refresh starts although the call fails."""
        return self.effect or ("none" if self.replaces else "before")

    @model_validator(mode="after")
    def _says_when(self) -> "InjectedFault":
        if sum((bool(self.nth), self.every is not None, self.p is not None, self.always)) > 1:
            raise ValueError("only one of `nth`, `every`, `p` and `always`")
        if not (self.nth or self.every or self.always or self.p is not None or self._has_moments):
            raise ValueError("say when: `nth`, `every`, `p`, `always`, or `from` and `until`")
        if self.from_s is not None and self.until_s is not None and self.from_s >= self.until_s:
            raise ValueError("`from` must be before `until`")
        return self

    @model_validator(mode="after")
    def _says_what(self) -> "InjectedFault":
        if not self.replaces and not self.delay and self.close_after is None:
            raise ValueError("say what happens: `status`, `drop`, `delay` or `close_after`")
        bodies = {"message", "body", "raw"} & self.model_fields_set
        if bodies and self.status is None:
            raise ValueError(f"`{min(bodies)}` needs a `status`")
        if len(bodies) > 1:
            raise ValueError("only one of `message`, `body` and `raw`")
        if self.effect == "none" and not self.replaces:
            raise ValueError("`effect: none` needs a `status` or a `drop`")
        return self

    @property
    def _has_moments(self) -> bool:
        return self.from_s is not None or self.until_s is not None


class Rules:
    """The faults of a scenario, with what each has counted so far."""

    def __init__(self, faults: tuple[InjectedFault, ...], seed: int) -> None:
        self._rules = [
            (fault.name or str(number), fault, re.compile(fault.path), random.Random(f"{seed}/fault/{number}"))
            for number, fault in enumerate(faults, 1)
        ]
        self._counts: defaultdict[tuple[int, str], int] = defaultdict(int)

    def pick(self, method: str, path: str, now_s: float) -> tuple[str, InjectedFault] | None:
        """The label and the rule that applies to this call: the first that matches. Every rule that matches counts the call."""
        picked: tuple[str, InjectedFault] | None = None
        for number, (label, fault, pattern, dice) in enumerate(self._rules):
            if fault.method not in (None, method) or not pattern.search(path):
                continue
            where = (number, path if fault.count == "path" else "")
            self._counts[where] += 1
            if _is_due(fault, self._counts[where], now_s, dice) and picked is None:
                picked = label, fault
        return picked


def _is_due(fault: InjectedFault, count: int, now_s: float, dice: random.Random) -> bool:
    # a number is drawn for each call that matches, so that moments do not shift later draws
    lucky = fault.p is not None and dice.random() < fault.p
    if fault.from_s is not None and now_s < fault.from_s:
        return False
    if fault.until_s is not None and now_s >= fault.until_s:
        return False
    if fault.nth:
        return count in fault.nth
    if fault.every is not None:
        return count % fault.every == 0
    return lucky if fault.p is not None else True
