"""Branch patterns on the command line: rehearsed, listed, and retried."""

import json
from pathlib import Path
from typing import Any

from tests.cli.commands import call, write_manifest
from tests.cli.live import Omni

PATTERN = {"model": "Sales", "branch": "pr-*", "tags": ["prs"]}


def statuses(path: Path) -> dict[str, str]:
    """Each target's status in a report."""
    return {o["name"]: o["status"] for o in json.loads(path.read_text(encoding="utf-8"))["outcomes"]}


def test_a_rehearsal_has_branches(tmp_path: Path, capfd: Any) -> None:
    """With --simulate a pattern stands for two branches, also without a scenario."""
    manifest = write_manifest(tmp_path, PATTERN, {"model": "Sales", "branch": "v[0-9]?"})
    done = call(capfd, "run", manifest, "--simulate", "--json")
    assert done.code == 0, done.err
    names = [o["name"] for o in done.document["outcomes"]]
    assert names == ["Sales@pr-1", "Sales@pr-2", "Sales@v01", "Sales@v02"]


def test_the_list_shows_the_pattern(tmp_path: Path, capfd: Any) -> None:
    """`ls` sends no call, so it lists the entry; a selected branch selects its entry."""
    manifest = write_manifest(tmp_path, PATTERN, {"model": "Finance"})
    assert call(capfd, "ls", manifest, "--select", "branch:pr-7").out == "Sales@pr-*\n"
    (one,) = call(capfd, "ls", manifest, "--select", "tag:prs", "--json").document["targets"]
    assert (one["branch"], one["max_branches"]) == ("pr-*", 20)
    assert call(capfd, "ls", manifest, "--select", "branch:dev").code == 2
    assert call(capfd, "check", manifest).code == 0


def test_a_retry_of_the_first_run_knows_what_a_later_one_found(omni: Any, tmp_path: Path, capfd: Any) -> None:
    """A pattern that could not be looked up is expanded by a retry; retrying the first run again starts no branch twice."""
    instance: Omni = omni(
        models=[{"name": "Sales", "branches": ["pr-1", "pr-2"], "connection": "wh", "duration": 0.05}],
        connections=[{"name": "wh", "branch_based": True}],
        faults=[{"path": "/models$", "nth": [1, 2, 3, 4], "status": 403, "body": {"detail": "no"}}],
    )
    instances = {"sim": {"base_url": instance.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
    manifest = write_manifest(tmp_path, PATTERN, instances=instances)
    first = call(capfd, "run", manifest, "--report", str(tmp_path / "1.json"))
    assert first.code == 1
    assert statuses(tmp_path / "1.json") == {"Sales@pr-*": "rejected"}
    run_id = json.loads((tmp_path / "1.json").read_text())["run"]["id"]
    second = call(capfd, "retry", run_id, "--report", str(tmp_path / "2.json"))
    while second.code and statuses(tmp_path / "2.json") == {"Sales@pr-*": "rejected"}:
        second = call(capfd, "retry", run_id, "--report", str(tmp_path / "2.json"))
    assert second.code == 0, second.err
    assert statuses(tmp_path / "2.json") == {"Sales@pr-1": "succeeded", "Sales@pr-2": "succeeded"}
    posts = len(instance.posts)
    third = call(capfd, "retry", run_id)
    assert third.code == 0
    assert "nothing to retry" in third.err
    assert len(instance.posts) == posts == 2


def test_last_night_is_known_for_a_branch(tmp_path: Path, omni: Any, capfd: Any) -> None:
    """A branch that a pattern found has its earlier result in the report, like any other target."""
    instance: Omni = omni(
        models=[{"name": "Sales", "branches": ["pr-1"], "connection": "wh", "duration": 0.05, "result": "FAILED"}],
        connections=[{"name": "wh", "branch_based": True}],
    )
    instances = {"sim": {"base_url": instance.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
    manifest = write_manifest(tmp_path, PATTERN, instances=instances)
    for _ in range(2):
        done = call(capfd, "run", manifest, "--json")
    (outcome,) = done.document["outcomes"]
    assert (outcome["name"], outcome["previous_status"]) == ("Sales@pr-1", "failed")
    assert len(outcome["recent"]) == 1


def test_a_dbt_sync_is_shown_as_one(tmp_path: Path, capfd: Any) -> None:
    """The plan, the list and the report show the kind; a rehearsal knows the call."""
    manifest = write_manifest(tmp_path, {"model": "Sales", "branch": "docs", "refresh": "dbt_sync"})
    table = call(capfd, "plan", manifest, "--simulate")
    assert "dbt sync of Sales@docs" in table.out
    assert "metadata of dbt" in table.out
    (refresh,) = call(capfd, "plan", manifest, "--simulate", "--json").document["refreshes"]
    assert refresh["refresh"] == "dbt_sync"
    assert refresh["calls"][0]["target"].split("?")[0].endswith("/dbt-sync")
    assert "dbt sync" in call(capfd, "ls", manifest, "--long").out
    done = call(capfd, "run", manifest, "--simulate", "--json")
    assert [(o["status"], o["refresh"]) for o in done.document["outcomes"]] == [("succeeded", "dbt_sync")]
    assert call(capfd, "run", manifest, "--simulate", "--mode", "hard", "--json").code == 0
