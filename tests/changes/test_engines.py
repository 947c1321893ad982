"""The corpus's labels, compared with what real engines do: a wrong label would teach the reader a mistake.

An entry may say more for this than its SQL and its label: `given` is what the database holds before, `refused` why the engine
takes no such statement, `traceless` which labelled names the engine shows no change of (a guess that is made to be safe), `aside`
what changes and is left out of the label on purpose.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.changes.catalogs import EngineError, Place, differences, fits
from tests.changes.engines import Engine
from tests.changes.test_corpus import entries


def faults(entry: dict[str, Any], found: dict[Place, str]) -> Iterator[str]:
    """Where a label and the engine part: a name missed, an effect too weak, a name without any trace."""
    labels = entry["is"]
    for place, sign in found.items():
        signs = {label[0] for label in labels if fits(label[1:], place)}
        left_out = entry.get("unclear", False) or any(fits(name, place) for name in entry.get("aside", ()))
        if sign == "~" or left_out:
            continue
        if not signs:
            yield f"{sign}{place} is not in the label"
        elif sign == "-" and "-" not in signs:
            yield f"{place} lost something, and the label says it did not"
    for label in labels:
        if label[1:] not in entry.get("traceless", ()) and not any(fits(label[1:], place) for place in found):
            yield f"nothing happened to {label[1:]}"


def judge(engine: Engine, entry: dict[str, Any]) -> list[str]:
    """What is wrong with an entry, by the engine: nothing, as a rule."""
    try:
        before, after = engine.run(entry.get("given", ""), entry["sql"], entry.get("default_schema"))
    except EngineError as error:
        return [] if "refused" in entry else [str(error)]
    return ["was not refused"] if "refused" in entry else list(faults(entry, differences(before, after)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("dialect", ["postgres", "mysql", "duckdb"])
def test_an_engine_confirms_the_labels(dialect: str, database: Callable[[str], Engine]) -> None:
    """Whatever a statement changes in a real database is in its label, no effect is too weak, and no name is made up."""
    engine = database(dialect)
    wrong = [
        (number, fault, entry["sql"])
        for number, (of, entry) in enumerate(entries())
        if of == dialect
        for fault in judge(engine, entry)
    ]
    assert not wrong


@pytest.mark.parametrize(
    "label, found",
    [
        ([], {("s", "t"): "+"}),
        (["+s.t"], {("s", "t"): "-"}),
        (["+s.t", "+s.u"], {("s", "t"): "+"}),
        (["+s.t"], {("a", "t"): "+"}),
    ],
    ids=["missed", "too weak", "made up", "elsewhere"],
)
def test_a_wrong_label_is_found(label: list[str], found: dict[Place, str]) -> None:
    """The judge of the labels sees a name that is missing, one too many, and an effect that is too weak."""
    assert list(faults({"is": label}, found))


def test_a_true_label_is_not_blamed() -> None:
    """Unknown schemas, whole schemas and details without a change of columns are all borne out."""
    entry = {"is": ["-?.t", "+a.*", "+s.v"]}
    found: dict[Place, str] = {("d", "s", "t"): "-", ("d", "a", "*"): "+", ("d", "a", "u"): "+", ("d", "s", "v"): "~"}
    assert not list(faults(entry, found))
