"""Any text gives a manifest or errors: never a traceback, never a key."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.manifest.diagnostics import Diagnostics, ManifestError
from orchestrator.manifest.load import make_manifest
from orchestrator.manifest.manifest import Manifest
from orchestrator.manifest.yaml_text import read_yaml
from orchestrator.text import clean
from tests.manifest.manifests import ENVIRON, ID, KEY, no_file

WHOLE = f"""\
version: 1
workers: 16
x-base: &base {{mode: soft, schemas: [a, "b"], poll: {{min: 2s}}}}
instances:
  prod:
    base_url: https://blobsrus.omniapp.co/api
    api_keys: ["${{OMNI_API_TOKEN}}"]
    rate_limit: {{requests: 60, per: 60s}}
defaults:
  timeout: 30m
  retries: 3
  enabled: ${{E:-true}}
models:
  - id: {ID}
    name: 'sales'
    <<: *base
  - model: Quarterly Finance
    tables: [finance.invoices, "finance.ledger_*"]
    branch: nightly/schema
"""
PIECES = [
    *WHOLE.split("\n"),
    "\t",
    "[",
    "]",
    "{",
    "}",
    "${",
    "$$",
    "*base",
    "&base",
    "<<: ",
    "!!str ",
    "---",
    "''",
    '"',
    "~",
    ",",
    "\0",
    "\u2028",
    "|",
    "- ",
    ": ",
]

# Texts that are nearly manifests: lines moved, repeated, cut, with pieces of others in between.
line_soup = st.lists(st.sampled_from(PIECES), max_size=30).map("\n".join)
piece_soup = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The whole manifest with a few places cut out or overwritten."""
    text = WHOLE
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(st.sampled_from(PIECES) | st.text(max_size=6)) + text[end:]
    return text


def _made(text: str | bytes, *, with_keys: bool) -> Manifest | ManifestError:
    try:
        return make_manifest(text, path="m.yaml", environ=ENVIRON, with_keys=with_keys, read_file=no_file)
    except ManifestError as error:
        return error


def _is_sound(made: Manifest | ManifestError) -> None:
    if isinstance(made, ManifestError):
        assert 0 < len(made.diagnostics) <= made.total
        assert len(str(made)) < 8000
        assert clean(str(made), keep_newlines=True) == str(made)
        assert list(made.diagnostics) == sorted(made.diagnostics, key=lambda fault: fault.place)
        assert all(fault.place.line >= 1 and fault.place.column >= 1 for fault in made.diagnostics)
    else:
        assert made.entries
        assert len({one.name for one in made.entries}) == len(made.entries)
        assert all(one.instance in made.instances for one in made.entries)
    assert KEY not in f"{made} {made!r}"


def test_the_whole_is_a_manifest() -> None:
    """The manifest that the tests below mutate is valid."""
    assert isinstance(_made(WHOLE, with_keys=True), Manifest)


@given(st.text() | line_soup | piece_soup | mutated(), st.booleans())
def test_any_text(text: str, with_keys: bool) -> None:
    """Any text gives a manifest, or errors with places, in order, short and without a key."""
    _is_sound(_made(text, with_keys=with_keys))


@given(st.binary() | line_soup.map(lambda text: text.encode("utf-16")))
def test_any_bytes(data: bytes) -> None:
    """Bytes that are not text give no traceback."""
    _is_sound(_made(data, with_keys=True))


@given(line_soup | piece_soup | mutated())
def test_both_parsers_survive(text: str) -> None:
    """Without libyaml, the other parser gives a document or errors, and the same data if both give some."""
    results = []
    for use_libyaml in (True, False):
        listed = Diagnostics("m.yaml")
        document = read_yaml(text, listed, use_libyaml=use_libyaml)
        results.append(None if listed.has_errors or document is None else document.plain())
        assert document is not None or listed.has_errors
    if None not in results:
        assert results[0] == results[1]
