"""A plan for people: rows, errors, warnings, figures."""

import io
from collections.abc import Mapping, Sequence

from orchestrator.log import LogOutput, render_json
from orchestrator.simulator.reading import make_scenario
from orchestrator.survey.preview import Preview
from orchestrator.terminal.console import Console
from orchestrator.terminal.plan_table import render_preview
from tests.planning.targets import CONNECTIONS
from tests.rehearsal import manifest_text, model, uuid
from tests.survey.previews import preview


def shown(made: Preview, *, color: bool = False, width: int = 140) -> list[str]:
    """The lines of the table and what stands below."""
    log = LogOutput(io.StringIO(), render_json)
    console = Console(color=color, width=width, quiet=True, color_err=False, live=False, log_is_text=False, log=log)
    return render_preview(made, console, redact=lambda text: text.replace("secret", "…")).splitlines()


def made(*models: Mapping[str, object], history: Mapping[str, Sequence[float]] | None = None, **top: object) -> Preview:
    """A preview of these models; nothing can be asked."""
    return preview(manifest_text(*models), history={"sim": history or {}})[0]


def test_a_lane_is_called_what_people_call_it() -> None:
    """A label where there is one, else the beginning of the connection's id, or of the model that is alone."""
    lines = shown(
        made(model(1, connection="wh"), model(2, connection=CONNECTIONS[0]), model(3, connection="x" * 90)), width=200
    )
    assert [line.split()[1] for line in lines[1:4]] == ["wh", CONNECTIONS[0][:8], "x" * 40]
    alone = preview(manifest_text(model(1, connection=None)), make_scenario())[0]
    assert shown(alone)[1].split()[1:3] == ["model", uuid(1)[:8]]


def test_instances_are_distinguished() -> None:
    """Where a plan is of several instances, a lane says which it is on."""
    instances = {
        name: {"base_url": "http://127.0.0.1:1", "api_keys": [f"${{KEY_{n}}}"]} for n, name in enumerate("ab", 1)
    }
    entries = [model(n, instance=name) for n, name in enumerate("ab", 1)]
    lines = shown(preview(manifest_text(*entries, instances=instances))[0])
    assert lines[1].split()[1:3] == ["a:", "c1"]
    assert lines[2].split()[1:3] == ["b:", "c2"]


def test_waiting_branches_and_scopes() -> None:
    """A row shows the row that it follows, its branch, its scope, and the targets that it covers."""
    lines = shown(
        made(
            model(1, connection="wh", branch=uuid(7)),
            model(2, connection="wh", branch=uuid(7)),
            model(3, connection="wh", schemas=["a", "b", "c", "d"], tables=["a.t"]),
        )
    )
    assert lines[0].split() == ["#", "LANE", "AFTER", "CALL", "SCOPE", "SERVES", "AS", "WELL"]
    assert f"hard refresh of m1, branch {uuid(7)}" in lines[1]
    assert lines[1].split()[-2:] == ["everything", "m2"]
    assert lines[2].split()[:3] == ["2", "wh", "1"]
    assert "schemas a, b, c and 1 more, tables a.t" in lines[2]


def test_errors_and_skips() -> None:
    """Errors have their place and a hint, lists of them are cut, and what is skipped says why."""
    many = [{"model": f"secret {n}"} for n in range(25)]
    text = manifest_text(*many, model(1, enabled=False))
    lines = shown(preview(text, make_scenario())[0])
    assert lines[0].startswith("rehearsal.yaml:1:")
    assert "error: … 0: no model is named '… 0'; check the model's name" in lines[0]
    assert "and 5 more errors; --json has them all" in lines
    assert "skipped: m1: disabled in the manifest" in lines
    assert "0 refreshes in 0 lanes for 0 targets, 25 in error, 1 skipped" in lines
    assert lines[-1].startswith("Calls: about ")


def test_nothing_to_do() -> None:
    """A plan without a refresh says so, without a table of costs."""
    assert shown(made(model(1, enabled=False), model(2, enabled=False)))[-1] == "Nothing to do: 2 targets are skipped"


def test_many_warnings_are_cut() -> None:
    """Each warning once, with the targets that it concerns; of very many, some."""
    lanes = [model(n, connection=f"wh{n}") for n in range(1, 31)]
    outside = [{"name": f"out {n}", "connection": f"c{n}"} for n in range(30)]
    inside = [{"id": uuid(n), "name": f"in {n}", "connection": f"c{n - 1}"} for n in range(1, 31)]
    staged = make_scenario(models=[*outside, *inside], limit={"kind": "none"})
    entries = [{key: value for key, value in lane.items() if key != "connection"} for lane in lanes]
    lines = shown(preview(manifest_text(*entries), staged)[0])
    assert sum(line.startswith("warning: ") for line in lines) == 20
    assert "and 11 more warnings; --json has them all" in lines


def test_what_is_known_of_the_time() -> None:
    """A guess is called one; what earlier runs tell is counted; where they tell all of it nothing is said."""
    models = [model(1), model(2)]
    assert any("a guess" in line for line in shown(made(*models)))
    some = shown(made(*models, history={uuid(1): [30.0, 30.0]}))
    assert any("earlier runs tell of 1 of 2" in line for line in some)
    everything = shown(made(*models, history={uuid(1): [30.0] * 9, uuid(2): [30.0] * 9}))
    (line,) = [line for line in everything if line.startswith("Time: about ")]
    assert "earlier runs" not in line


def test_colours_are_for_terminals() -> None:
    """With colour there are styles, without there is no escape, and a narrow terminal breaks nothing."""
    assert any("\x1b[" in line for line in shown(made(model(1)), color=True))
    assert not any("\x1b" in line for line in shown(made(model(1)), width=20))
