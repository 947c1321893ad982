"""What is sent in a lane, in which order, and the targets that each refresh covers."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.manifest.manifest import Mode
from orchestrator.planning.lanes import refreshes
from orchestrator.planning.plan import Refresh, Target
from tests.planning.targets import BRANCHES, entry, manifest, target

SCOPES = [(), ("a",), ("a", "b"), ("b", "a"), ("c",)]


@st.composite
def lanes(draw: st.DrawFn) -> tuple[Target, ...]:
    """The targets of one lane in manifest order."""
    made = []
    for index in range(draw(st.integers(1, 12))):
        schemas = draw(st.sampled_from(SCOPES))
        tables = draw(st.sampled_from([(), ("a.t",), ("a.t", "a.u")])) if schemas else ()
        made.append(
            target(
                entry(
                    index,
                    mode=draw(st.sampled_from(list(Mode))),
                    schemas=schemas,
                    tables=tables,
                    timeout_s=draw(st.sampled_from([10.0, 60.0, 600.0])),
                    wait=draw(st.booleans()),
                ),
                draw(st.sampled_from([None, *BRANCHES[:2]])),
            )
        )
    return tuple(made)


def width(of: Target) -> int:
    """0 for everything anew, 1 for everything added, 2 for a scope."""
    if of.entry.mode is Mode.HARD:
        return 0
    return 2 if of.entry.schemas or of.entry.tables else 1


def scope(of: Target) -> tuple[frozenset[str], frozenset[str]]:
    """Return the scope of a target, without order."""
    return frozenset(of.entry.schemas), frozenset(of.entry.tables)


def planned(targets: Sequence[Target], *, collapse: bool = True) -> list[Refresh]:
    """All refreshes of a lane."""
    return list(refreshes(targets, manifest(*(t.entry for t in targets), collapse=collapse)))


@given(targets=lanes(), collapse=st.booleans())
def test_every_target_is_served_exactly_once(targets: tuple[Target, ...], collapse: bool) -> None:
    """Each target is sent or covered once, by a refresh of its own branch that is wide enough."""
    served = [t for refresh in planned(targets, collapse=collapse) for t in refresh.served]
    assert sorted(t.entry.index for t in served) == list(range(len(targets)))
    for refresh in planned(targets, collapse=collapse):
        for covered in refresh.covered:
            assert covered.branch_id == refresh.sender.branch_id
            assert width(refresh.sender) == 0 or width(covered) > 0
            assert width(refresh.sender) < 2 or scope(covered) == scope(refresh.sender)
        if not collapse:
            assert refresh.covered == ()


@given(targets=lanes())
def test_the_widest_of_the_first_branch_sends(targets: tuple[Target, ...]) -> None:
    """The first target's branch goes first, its widest target sends (ties: the first), and all that it serves are covered."""
    refresh = planned(targets)[0]
    group = [t for t in targets if t.branch_id == targets[0].branch_id]
    assert refresh.sender == min(group, key=lambda t: (width(t), t.entry.index))
    assert refresh.timeout_s == max(t.entry.timeout_s for t in refresh.served)
    assert refresh.wait is any(t.entry.wait for t in refresh.served)
    left = [t for t in group if t not in refresh.served]
    if width(refresh.sender) == 0:
        assert left == []
    assert not any(scope(t) == scope(refresh.sender) and width(t) == width(refresh.sender) for t in left)


@given(targets=lanes())
def test_a_call_says_what_its_sender_says(targets: tuple[Target, ...]) -> None:
    """Model, mode, branch and scope of a call are the sender's own: nothing is dropped, merged or invented."""
    for refresh in planned(targets):
        (ask,) = refresh.requests
        sender = refresh.sender
        assert (ask.model_id, ask.branch_id) == (sender.model_id, sender.branch_id)
        assert ask.hard is (sender.entry.mode is Mode.HARD)
        assert (ask.schemas, ask.tables) == (sender.entry.schemas, sender.entry.tables)


@given(targets=lanes())
def test_collapsing_sends_no_more_than_needed(targets: tuple[Target, ...]) -> None:
    """A branch with a hard target has one refresh; any other branch has one for each scope."""
    needed = 0
    for branch_id in {t.branch_id for t in targets}:
        group = [t for t in targets if t.branch_id == branch_id]
        needed += 1 if min(map(width, group)) < 2 else len({scope(t) for t in group})
    assert len(planned(targets)) == needed
