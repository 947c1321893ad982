"""The quoted line of an error shows where it is, and no value that may be a secret."""

import pytest

from orchestrator.manifest.diagnostics import ManifestError
from orchestrator.manifest.excerpt import Excerpt, make_excerpt
from orchestrator.manifest.manifest import Place
from tests.manifest.manifests import MODEL, TOP, load


def test_the_marked_part_is_the_value() -> None:
    """The line is as written, and the mark covers the key or the value that the error is about."""
    lines = (TOP + MODEL + "    hard_refesh: true\n").splitlines()
    assert make_excerpt(lines, Place(9, 5), []) == Excerpt(line="    hard_refesh: true", start=4, width=11)
    assert make_excerpt(lines, Place(9, 18), []) == Excerpt(line="    hard_refesh: true", start=17, width=4)


@pytest.mark.parametrize(
    "text, place, shown",
    [
        ("instances:\n  sim:\n    token: hunter2\n", Place(3, 5), "    token: …"),
        ("instances:\n  sim:\n    pat: hunter2\n", Place(3, 5), "    pat: …"),
        ("instances:\n  sim:\n    api_keys:\n      - hunter2\n", Place(4, 9), "      - …"),
        ("instances: {sim: {api_keys: [hunter2], foo: 1}}\n", Place(1, 40), "instances: …"),
        ('{"instances": {"sim": {"api_keys": ["hunter2"]}}}\n', Place(1, 2), "…"),
        ("notify:\n  - webhook: https://a.b/hunter2\n", Place(2, 5), "  - webhook: …"),
        ("secret_thing: hunter2\n", Place(1, 1), "secret_thing: …"),
        ("anything: hunter2\n", Place(1, 1), "anything: …"),
        ("models:\n  - name: hunter2\n", Place(2, 5), "  - name: …"),
        ("models:\n  - omni_osk_hunter2: x\n", Place(2, 5), "…"),
        ("hunter2\n", Place(1, 1), "…"),
    ],
)
def test_values_that_may_be_secret_are_hidden(text: str, place: Place, shown: str) -> None:
    """These are masked: all under `instances`, `notify` and unknown top-level keys, and lines with a secret or a key."""
    excerpt = make_excerpt(text.splitlines(), place, ["hunter2"] if "name" in text else [])
    assert excerpt is not None
    assert excerpt.line == shown
    assert excerpt.start + excerpt.width <= len(shown)


@pytest.mark.parametrize("place", [Place(9, 1), Place(1, 500), Place(2, 1)])
def test_no_excerpt_without_a_line(place: Place) -> None:
    """A place outside the file, on a blank line or in a very long line has no excerpt."""
    assert make_excerpt(["models: " + "x" * 300, ""], place, []) is None


def test_an_error_has_its_line() -> None:
    """The errors of a manifest carry their lines."""
    with pytest.raises(ManifestError) as caught:
        load(TOP + MODEL + "    mode: sotf\n")
    (found,) = caught.value.diagnostics
    assert found.excerpt == Excerpt(line="    mode: sotf", start=10, width=4)
