"""Previews for tests: of a manifest's text, against a simulated instance where anything must be asked."""

from collections.abc import Mapping, Sequence

from orchestrator.planning.selection import Selector
from orchestrator.simulator.calls import Call
from orchestrator.simulator.scenario import Scenario
from orchestrator.survey.preview import NOTHING_LOOKED_UP, Preview, look_up, make_preview, needs_look_ups
from tests.rehearsal import read_manifest
from tests.survey.instance import survey


def preview(
    text: str,
    staged: Scenario | None = None,
    *,
    include: Sequence[str] = (),
    history: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> tuple[Preview, Sequence[Call]]:
    """The preview of a manifest, and the calls that it took; without a scenario nothing can be asked."""
    loaded = read_manifest(text)
    selector = Selector(loaded, include)
    selected = tuple(filter(selector.picks, loaded.entries))
    found = NOTHING_LOOKED_UP
    calls: Sequence[Call] = ()
    if staged is not None and needs_look_ups(selected):
        found, calls = survey(loaded, staged, lambda opened: look_up(opened, selected))
    made = make_preview(
        loaded,
        selected,
        found,
        picks=selector.picks_branch,
        history=history or {},
    )
    return made, calls
