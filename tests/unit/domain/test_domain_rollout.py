"""A change of the pod template: one relay at a time, never while another is not ready, and always correctable."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.domain.facts import Claim, Deployment, Relay, Wish
from smtpfleet.domain.rollout import may_restart, surge
from smtpfleet.domain.scaling import scale
from tests.unit.domain.samples import SETTLED, pod, relay

OLD = replace(SETTLED, outdated=True)
STARTING = Deployment(wanted=1, ready=0, current=True)


def _old(number: int, *, ready: bool = True, paused: bool = False) -> Relay:
    name = f"outbound-relay-{number}"
    deployment = OLD if ready else replace(OLD, ready=0)
    return relay(number, deployment=deployment, pods=(pod(name, ready=ready),), paused=paused)


def _not_ready(number: int) -> Relay:
    return relay(number, deployment=STARTING, pods=(pod(f"outbound-relay-{number}", ready=False),))


def _go(relays: Sequence[Relay], *, leaving: Sequence[str] = (), starting: bool = False) -> set[str]:
    return set(may_restart(relays, leaving=leaving, starting=starting))


def test_the_first_of_several_outdated_relays_goes_alone() -> None:
    assert _go([_old(0), _old(1), _old(2)]) == {"outbound-relay-0"}


def test_nobody_goes_while_another_relay_is_not_ready() -> None:
    assert _go([_old(0), _not_ready(1)]) == set()


def test_nobody_goes_while_another_deployment_has_not_settled() -> None:
    restarting = relay(1, deployment=replace(SETTLED, current=False))
    assert _go([_old(0), restarting]) == set()


def test_nobody_goes_while_relays_are_still_to_be_created() -> None:
    assert _go([_old(0), _old(1)], starting=True) == set()


def test_relays_that_are_not_ready_are_changed_at_once_because_the_change_may_help() -> None:
    assert _go([_old(0, ready=False), _old(1, ready=False), _old(2)]) == {
        "outbound-relay-0",
        "outbound-relay-1",
    }


def test_a_single_relay_can_be_changed() -> None:
    assert _go([_old(0)]) == {"outbound-relay-0"}


def test_a_paused_relay_is_left_alone() -> None:
    assert _go([_old(0, paused=True), _old(1)]) == {"outbound-relay-1"}


def test_a_paused_relay_that_is_not_ready_holds_the_others_back() -> None:
    broken = replace(_not_ready(0), paused=True)
    assert _go([broken, _old(1)]) == set()


def test_a_leaving_relay_is_not_restarted_and_holds_nobody_back() -> None:
    leaving = _not_ready(0)
    assert _go([leaving, _old(1), _old(2)], leaving=[leaving.name]) == {"outbound-relay-1"}
    assert _go([_old(0), relay(1)], leaving=["outbound-relay-0"]) == set()


def test_a_leaving_relay_whose_agent_is_silent_is_changed_because_it_has_to_deliver() -> None:
    silent = replace(_old(0, ready=False), agent=None)
    assert _go([silent], leaving=["outbound-relay-0"]) == {"outbound-relay-0"}
    ephemeral = replace(silent, ephemeral=True)
    assert _go([ephemeral], leaving=["outbound-relay-0"]) == set()


def test_a_leaving_relay_that_hands_over_is_not_restarted_although_it_is_not_ready() -> None:
    assert _go([_old(0, ready=False), relay(1)], leaving=["outbound-relay-0"]) == set()


def test_a_template_that_was_tried_and_made_nobody_ready_goes_to_no_other_relay() -> None:
    assert _go([_not_ready(0), _old(1, ready=False), _old(2)]) == set()
    assert _go([_not_ready(0), relay(1), _old(2, ready=False)]) == {"outbound-relay-2"}
    waits_for_a_node = relay(0, deployment=STARTING, pods=(pod("outbound-relay-0", node="", ready=False),))
    assert _go([waits_for_a_node, _old(1, ready=False)]) == {"outbound-relay-1"}


def test_an_only_relay_that_is_away_for_a_moment_does_not_go_for_one_that_was_never_ready() -> None:
    """Whose template may be what keeps it from being so."""
    relays = [_old(0, ready=False), _not_ready(1)]
    size = scale(desired=1 + surge(relays, desired=1), relays=relays, marked=())
    assert (size.leaving, size.new) == (frozenset(), ())
    assert _go(relays) == set()


_ANY = st.builds(
    lambda number, outdated, ready, current, paused: relay(
        number,
        deployment=Deployment(wanted=1, ready=int(ready), current=current, outdated=outdated),
        pods=(pod(f"outbound-relay-{number}", ready=ready),),
        paused=paused,
    ),
    st.integers(0, 9), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip


@given(st.lists(_ANY, unique_by=lambda item: item.number, max_size=8))
def test_at_most_one_relay_that_takes_mail_restarts_and_only_if_all_others_do(relays: list[Relay]) -> None:
    chosen = _go(relays)
    serving = [item for item in relays if item.name in chosen and item.ready]
    assert len(serving) <= 1
    for item in serving:
        assert all(other.ready for other in relays if other is not item)
    assert not any(item.paused for item in relays if item.name in chosen)


def test_while_a_relay_is_ejected_only_that_one_may_be_restarted() -> None:
    relays = [_old(0), _old(1), relay(2)]
    names = [each.name for each in relays]
    assert may_restart(relays, leaving=(), starting=False, ejected=names[1:2]) == {names[1]}
    assert may_restart(relays, leaving=(), starting=False, ejected=names[2:]) == frozenset()
    assert may_restart(relays, leaving=names[2:], starting=False, ejected=names[2:]) == {names[0]}


@pytest.mark.parametrize(
    ("relays", "desired", "more"),
    [
        ([_old(0)], 1, 1),
        ([_old(0), _not_ready(1)], 1, 1),
        ([_old(0), relay(1)], 1, 0),
        ([_old(0), _old(1)], 1, 1),
        ([_old(0), _old(1)], 2, 0),
        ([relay(0)], 1, 0),
        ([_old(0, ready=False)], 1, 0),
        ([_old(0, ready=False), _not_ready(1)], 1, 1),
        ([_old(0, ready=False), _old(1, ready=False)], 1, 0),
        ([_old(0, ready=False), relay(1)], 1, 0),
        ([_old(0, paused=True)], 1, 0),
        ([replace(_old(0), wish=Wish.DRAIN)], 1, 0),
        ([replace(_old(0), claim=Claim(leaving=True)), relay(1)], 1, 0),
        ([_old(0)], 0, 0),
        ([], 1, 0),
    ],
)
def test_where_one_relay_is_all_there_is_another_comes_before_it_is_changed(
    relays: list[Relay], desired: int, more: int
) -> None:
    assert surge(relays, desired=desired) == more


def test_a_new_relay_that_is_ejected_is_no_reason_for_the_old_one_to_go() -> None:
    assert surge([_old(0), relay(1)], desired=1, away=["outbound-relay-1"]) == 1


@given(st.lists(_ANY, unique_by=lambda item: item.number, max_size=4), st.integers(1, 4), st.booleans())
def test_whatever_is_seen_a_change_leaves_somebody_who_serves(
    relays: list[Relay], desired: int, chosen: bool
) -> None:
    """Of a pool of one relay also if that was chosen to go before, when its successor served."""
    relays = [
        replace(item, paused=False) for item in relays
    ]  # one that may not be touched may be all that is left
    marked = {item.name for item in relays if item.deployment and item.deployment.outdated}
    kept = marked if chosen and desired == 1 and len(relays) <= 2 else ()
    size = scale(desired=desired + surge(relays, desired=desired), relays=relays, marked=kept)
    restarted = may_restart(relays, leaving=size.leaving, starting=bool(size.new))
    serving = {item.name for item in relays if item.ready}
    assert serving - size.leaving - restarted or not serving
