"""How use cases reach instances."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from orchestrator.app.instances import make_ledgers
from orchestrator.app.state import open_state
from orchestrator.manifest.load import make_manifest
from tests.app.contexts import make_context
from tests.quota.windows import at_once

MANIFEST = """
instances:
  one: {base_url: "https://one.omniapp.co", api_keys: ["${K}"]}
  two: {base_url: "https://two.omniapp.co", api_keys: ["${K}", "${L}"]}
models:
  - {instance: one, id: 3c90c3cc-0d44-4b50-8888-8dd25736052a}
  - {instance: two, id: 3c90c3cc-0d44-4b50-8888-8dd25736052b}
"""


@pytest.mark.parametrize("with_state", [True, False], ids=["state folder", "none"])
def test_a_key_that_two_instances_name_has_one_budget(tmp_path: Path, *, with_state: bool) -> None:
    """Sixty calls a minute belong to the key, however many instances of the manifest use it; another key has its own."""
    instances = make_manifest(MANIFEST, path="m.yaml", environ={"K": "key-1", "L": "key-2"}).instances
    context = make_context(tmp_path)
    with open_state(context) if with_state else nullcontext() as state:
        ledger = make_ledgers(context, state, instances)
        one, two = instances["one"], instances["two"]
        first, same, other = ledger(one, one.keys[0]), ledger(two, two.keys[0]), ledger(two, two.keys[1])
        now = state.clock.now() if state is not None else 0.0
        for ours in (first, same):
            assert all(at_once(ours.take(now, 60)) is not None for _ in range(30))
        assert [each.counted(now) for each in (first, same, other)] == [60, 60, 0]
        assert at_once(first.take(now, 60)) is None
        assert at_once(same.take(now, 60)) is None
        assert at_once(other.take(now, 60)) is not None
