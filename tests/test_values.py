"""Values go to JSON and come back the same; secrets do not go at all."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.engine.run_context import RunSettings
from orchestrator.manifest.manifest import Manifest, Secret
from orchestrator.values import DataError, as_data, from_data
from tests.rehearsal import ENVIRON, manifest_text, model, read_manifest


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One field of each kind that does not stand in a manifest."""

    at: datetime
    pairs: tuple[tuple[str, str], ...] = ()
    whole: int = 0
    anything: object = None
    part: float = 1.0


def test_a_manifest_comes_back_the_same() -> None:
    """Entries, instances, durations, scopes, words and places: all but the secrets."""
    manifest = read_manifest(
        manifest_text(
            model(1, schemas=["no", "1e3"], tables=["Ünï.x"], tags=["t"], on_ambiguous="resend", timeout="90s"),
            model(2, branch="b/1", mode="soft", enabled=False, reads=["x"]),
            workers=3,
            collapse=False,
        )
        .replace('"workers"', '"x-note": 1, "workers"')
        .replace('"collapse": false, ', "")
    )
    text = json.dumps(as_data(manifest))
    assert not [key for key in ENVIRON.values() if key.startswith("rehearsal-key") and key in text]
    back = from_data(Manifest, json.loads(text))
    bare = {n: replace(i, keys=tuple(replace(k, secret=None) for k in i.keys)) for n, i in manifest.instances.items()}
    assert replace(back, secrets=()) == replace(manifest, instances=bare, secrets=())


def test_secrets_do_not_go() -> None:
    """A secret is stored as nothing and comes back empty."""
    assert as_data((Secret("x"),)) == [None]
    assert from_data(Secret, None) == Secret("")


def test_unknown_fields_are_passed_over_and_missing_ones_keep_their_defaults() -> None:
    """What another version stored can be read."""
    assert from_data(RunSettings, {"wait": False, "from_the_future": [1]}) == RunSettings(wait=False)


def test_every_kind_of_value() -> None:
    """Moments, nested tuples, paths, numbers."""
    sample = Sample(at=datetime(2026, 1, 2, 3, tzinfo=UTC), pairs=(("a", "b"),), whole=3, anything={"x": [1]}, part=2)
    assert from_data(Sample, json.loads(json.dumps(as_data(sample)))) == sample
    assert as_data({"p": Path("x"), "s": {1}}) == {"p": "x", "s": [1]}


def test_what_is_none_of_them_is_an_error() -> None:
    """Neither an unknown kind nor a wrong type is taken for something else."""
    with pytest.raises(TypeError, match="complex"):
        as_data(1j)
    with pytest.raises(DataError, match="wait must be true or false, it is 'yes'"):
        from_data(RunSettings, {"wait": "yes"})
