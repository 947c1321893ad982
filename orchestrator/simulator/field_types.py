"""The field types of scenarios: ids, names, moments, and seconds that chance may decide."""

import math
import random
from typing import Annotated, Literal
from uuid import UUID, uuid5

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator


class ScenarioPart(BaseModel):
    """A mapping in a scenario; keys that it does not know are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Id = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"), AfterValidator(str.lower)]


class TimeRange(ScenarioPart):
    """A time between two moments."""

    from_s: Seconds = Field(alias="from")
    """The first moment."""
    until_s: Seconds = Field(alias="until")
    """The first moment after it."""

    @model_validator(mode="after")
    def _in_order(self) -> "TimeRange":
        if self.from_s >= self.until_s:
            raise ValueError("`from` must be before `until`")
        return self


class Lognormal(ScenarioPart):
    """Seconds drawn from a lognormal distribution, as real refreshes take them: mostly short, now and then very long."""

    median: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Half of the values are below this."""
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.9
    """The spread: the standard deviation of the logarithm."""
    cap: Seconds | None = None
    """No value is above this."""


def _rising(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError("the first number must not be above the second")
    return span


MAPPING, SEQUENCE, SCALAR, NEVER = FORMS = ("<mapping>", "<sequence>", "<scalar>", "<never>")
"""Return which form a value has, so that a wrong value gets one error and not one for each form.
Pydantic puts these words into an error's location; no key of a scenario looks like them."""


def _form(value: object) -> str:
    if isinstance(value, dict | ScenarioPart):
        return MAPPING
    return SEQUENCE if isinstance(value, list | tuple) else SCALAR


def _duration_form(value: object) -> str:
    return NEVER if value == "never" else _form(value)


BY_FORM = Discriminator(_form)
"""Chooses among a union's members by their tags above."""

_Number = Annotated[Seconds, Tag(SCALAR)]
_Range = Annotated[tuple[Seconds, Seconds], AfterValidator(_rising), Tag(SEQUENCE)]
_Lognormal = Annotated[Lognormal, Tag(MAPPING)]
_Never = Annotated[Literal["never"], Tag(NEVER)]

Spread = Annotated[_Number | _Range | _Lognormal, BY_FORM]
Duration = Annotated[_Number | _Range | _Lognormal | _Never, Discriminator(_duration_form)]

TextForm = Annotated[Text, Tag(SCALAR)]
TextsForm = Annotated[tuple[Text, ...], Tag(SEQUENCE)]


def draw_s(spread: float | tuple[float, float] | Lognormal | Literal["never"], dice: random.Random) -> float:
    """Seconds as `spread` says: fixed, from a range, lognormal, or infinite."""
    if isinstance(spread, Lognormal):
        drawn = spread.median * math.exp(dice.gauss(0, spread.sigma))
        return drawn if spread.cap is None else min(drawn, spread.cap)
    if isinstance(spread, tuple):
        return dice.uniform(*spread)
    return math.inf if spread == "never" else float(spread)


_NAMESPACE = UUID("6a1b8f0e-3c52-4b55-9f0a-5d3f0b7c2e11")


def derive_id(
    kind: Literal["model", "connection", "branch", "schedule", "environment", "user", "document"], name: str
) -> str:
    """The uuid of an object that has only a name in the scenario; a branch's name is `model id/branch name`."""
    return str(uuid5(_NAMESPACE, f"{kind}:{name}"))
