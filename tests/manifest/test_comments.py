"""Comments so close to a name that they may be meant as a part of it."""

import pytest

from tests.manifest.manifests import TOP, load


@pytest.mark.parametrize(
    "line, meant",
    [
        ("model: Sales #1", '"Sales #1"'),
        ("branch: feature #12", '"feature #12"'),
        ("connection: wh #2", '"wh #2"'),
        ("model: Sales # the big one", None),
        ("model: Sales  #1", None),
        ("model: 'Sales #1'", None),
        ("model: Sales#1", None),
        ("timeout: 5m #1", None),
    ],
)
def test_a_comment_close_to_a_name(line: str, meant: str | None) -> None:
    """A comment directly after a name without quotes is a warning."""
    manifest = load(f"{TOP}models:\n  - name: m\n    {line}\n")
    warnings = [f"{w.code} {w.hint}" for w in manifest.warnings]
    assert len(warnings) == (meant is not None)
    assert meant is None or (meant in warnings[0] and warnings[0].startswith("comment-in-value"))


def test_a_comment_close_to_a_listed_name() -> None:
    """In a list, each name has its own warning."""
    manifest = load(f"{TOP}models:\n  - name: m\n    tags:\n      - a #1\n      - b\n")
    assert [(w.place.line, w.place.column) for w in manifest.warnings] == [(9, 9)]
