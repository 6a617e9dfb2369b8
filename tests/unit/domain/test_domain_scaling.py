"""How many relays there are to be: the lowest free numbers come, the least missed go, and a choice stays."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.reasons import RelayState
from smtpfleet.api.status import RelayEntry, SmtpPoolStatus
from smtpfleet.domain.facts import Claim, Relay, Wish
from smtpfleet.domain.scaling import marked_before, scale
from tests.unit.domain.samples import SETTLED, pod, queue, relay, report


def _names(*numbers: int) -> frozenset[str]:
    return frozenset(f"outbound-relay-{number}" for number in numbers)


def _with_queue(number: int, messages: int) -> Relay:
    name = f"outbound-relay-{number}"
    return relay(number, agent=report(name, queue=queue(deferred=messages)))


def test_an_empty_pool_gets_the_first_numbers() -> None:
    assert scale(desired=3, relays=[], marked=()).new == (0, 1, 2)


def test_a_gap_is_filled_before_higher_numbers_are_used() -> None:
    assert scale(desired=4, relays=[relay(0), relay(2)], marked=()).new == (1, 3)


def test_as_many_as_wanted_change_nothing() -> None:
    result = scale(desired=2, relays=[relay(0), relay(1)], marked=())
    assert (result.new, result.leaving) == ((), frozenset())


def test_a_relay_goes_that_shares_its_node_with_most_others() -> None:
    nodes = ("n1", "n2", "n2", "n3")
    relays = [
        replace(_with_queue(number, 9 * number), pods=(pod(f"outbound-relay-{number}", node=node),))
        for number, node in enumerate(nodes)
    ]
    assert scale(desired=3, relays=relays, marked=()).surplus == _names(1)


def test_a_relay_goes_of_the_zone_with_most_of_them_though_another_node_has_more() -> None:
    """Three nodes of one zone with a relay each, and a node of another zone with two."""
    places = {0: ("n1", "a"), 1: ("n2", "a"), 2: ("n3", "a"), 3: ("n4", "b"), 4: ("n4", "b")}
    relays = [
        relay(number, pods=(pod(f"outbound-relay-{number}", node=node, zone=zone),))
        for number, (node, zone) in places.items()
    ]
    assert scale(desired=4, relays=relays, marked=()).surplus == _names(2)
    assert scale(desired=3, relays=relays, marked=()).surplus == _names(2, 4)
    assert scale(desired=2, relays=relays, marked=()).surplus == _names(1, 2, 4)


def test_relays_that_stay_are_spread_however_many_go() -> None:
    nodes = {"n1": (0, 1, 2), "n2": (3, 4, 5)}
    relays = [
        relay(number, pods=(pod(f"outbound-relay-{number}", node=node),))
        for node, numbers in nodes.items()
        for number in numbers
    ]
    gone = scale(desired=2, relays=relays, marked=()).surplus
    assert [len(gone & _names(*numbers)) for numbers in nodes.values()] == [2, 2]


def test_the_relay_with_the_least_mail_goes() -> None:
    relays = [_with_queue(0, 50), _with_queue(1, 2), _with_queue(2, 9)]
    assert scale(desired=2, relays=relays, marked=()).surplus == _names(1)


def test_with_equal_queues_the_highest_number_goes() -> None:
    assert scale(desired=1, relays=[relay(0), relay(1), relay(2)], marked=()).surplus == _names(1, 2)


def test_a_relay_that_is_not_ready_goes_before_one_that_serves() -> None:
    broken = relay(0, pods=(pod("outbound-relay-0", ready=False),))
    assert scale(desired=1, relays=[broken, relay(1)], marked=()).surplus == _names(0)


def test_a_relay_with_an_earlier_template_goes_whatever_it_holds_but_after_one_that_is_not_ready() -> None:
    outdated = replace(_with_queue(0, 50), deployment=replace(SETTLED, outdated=True))
    assert scale(desired=1, relays=[outdated, relay(1)], marked=()).surplus == _names(0)
    broken = relay(1, pods=(pod("outbound-relay-1", ready=False),))
    assert scale(desired=1, relays=[outdated, broken], marked=()).surplus == _names(1)


def test_a_relay_that_was_drained_by_hand_goes_first() -> None:
    drained = relay(0, wish=Wish.DRAIN)
    assert scale(desired=1, relays=[drained, relay(1)], marked=()).surplus == _names(0)


def test_a_relay_whose_queue_is_unknown_goes_after_one_whose_queue_is_known() -> None:
    assert scale(desired=1, relays=[relay(0), relay(1, agent=None)], marked=()).surplus == _names(0)


def test_a_relay_that_was_chosen_before_stays_chosen_although_another_has_less_mail_now() -> None:
    relays = [_with_queue(0, 500), relay(1), relay(2)]
    assert scale(desired=2, relays=relays, marked=_names(0)).surplus == _names(0)


def test_a_chosen_relay_returns_when_the_number_rises_again() -> None:
    assert scale(desired=3, relays=[relay(0), relay(1), relay(2)], marked=_names(2)).surplus == frozenset()


def test_a_paused_relay_is_never_chosen() -> None:
    assert scale(desired=1, relays=[relay(0), relay(1, paused=True)], marked=()).surplus == _names(0)


def test_a_claim_without_a_deployment_is_a_relay_because_there_may_be_mail_on_it() -> None:
    kept = relay(5, deployment=None, pods=(), agent=None)
    result = scale(desired=2, relays=[relay(0), kept], marked=())
    assert (result.new, result.surplus) == ((), frozenset())


def test_kept_claims_above_the_number_wanted_are_surplus_and_not_forgotten() -> None:
    kept = relay(5, deployment=None, pods=(), agent=None)
    assert scale(desired=1, relays=[relay(0), kept], marked=()).surplus == _names(5)


def test_a_relay_whose_claim_is_being_deleted_goes_and_another_number_takes_its_place_at_once() -> None:
    doomed = relay(0, claim=Claim(leaving=True))
    result = scale(desired=2, relays=[doomed, relay(1)], marked=())
    assert (result.new, result.doomed, result.surplus) == ((2,), _names(0), frozenset())


def test_a_relay_that_is_replaced_counts_no_more_and_goes_when_another_serves() -> None:
    relays = [relay(0), relay(1)]
    coming = scale(desired=2, relays=relays, marked=(), replaced=_names(1))
    assert (coming.new, coming.leaving, coming.succeeded) == ((2,), frozenset(), False)
    starting = relay(2, pods=(pod("outbound-relay-2", ready=False),))
    assert not scale(desired=2, relays=[*relays, starting], marked=(), replaced=_names(1)).leaving
    known = scale(desired=2, relays=[*relays, starting], marked=(), replaced=_names(1), out=_names(2))
    assert (known.leaving, known.succeeded) == (_names(1), True)
    serves = scale(desired=2, relays=[*relays, relay(2)], marked=(), replaced=_names(1))
    assert (serves.new, serves.leaving, serves.surplus) == ((), _names(1), frozenset())


def test_a_relay_that_left_because_another_serves_does_not_come_back() -> None:
    more = scale(desired=3, relays=[relay(0), relay(1), relay(2)], marked=_names(1), replaced=_names(1))
    assert (more.new, more.leaving, more.succeeded) == ((3,), _names(1), True)


def test_a_paused_relay_that_is_replaced_stays_for_now() -> None:
    relays = [relay(0), relay(1, paused=True), relay(2)]
    assert not scale(desired=2, relays=relays, marked=_names(1), replaced=_names(1)).leaving


def test_a_number_is_free_again_when_nothing_of_its_relay_is_left() -> None:
    remnant = relay(0, deployment=None, claim=None, pods=(), agent=None)
    assert scale(desired=2, relays=[remnant, relay(1)], marked=()).new == (0,)


def test_the_status_remembers_who_was_chosen() -> None:
    entry = RelayEntry(
        name="outbound-relay-1", state=RelayState.STRANDED, weight=0,
        since="2026-01-01T00:00:00Z", reason="Surplus",
    )  # fmt: skip
    other = entry.model_copy(update={"name": "outbound-relay-0", "reason": "DrainRequested"})
    assert marked_before(SmtpPoolStatus(relays=(entry, other))) == _names(1)


_RELAYS = st.builds(
    lambda number, ready, paused, wish, messages, doomed: replace(
        _with_queue(number, messages),
        pods=(pod(f"outbound-relay-{number}", ready=ready),),
        paused=paused,
        wish=Wish.DRAIN if wish else Wish.NONE,
        claim=Claim(leaving=doomed),
    ),
    st.integers(0, 30), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 5), st.booleans(),
)  # fmt: skip


@given(st.lists(_RELAYS, unique_by=lambda item: item.number, max_size=12), st.integers(1, 12))
def test_after_the_step_there_are_as_many_as_wanted_unless_pauses_forbid_it(
    relays: list[Relay], desired: int
) -> None:
    result = scale(desired=desired, relays=relays, marked=())
    staying = [item for item in relays if item.name not in result.leaving]
    paused = sum(item.paused for item in staying)
    assert len(staying) + len(result.new) == max(desired, min(len(staying), paused))
    assert len(set(result.new) | {item.number for item in relays}) == len(result.new) + len(relays)


@given(st.lists(_RELAYS, unique_by=lambda item: item.number, max_size=12), st.integers(1, 12))
def test_a_choice_repeated_with_its_own_outcome_as_memory_is_the_same_choice(
    relays: list[Relay], desired: int
) -> None:
    first = scale(desired=desired, relays=relays, marked=())
    assert scale(desired=desired, relays=relays, marked=first.surplus) == first


def test_a_relay_that_is_ejected_goes_before_one_that_serves() -> None:
    relays = [_with_queue(0, 50), _with_queue(1, 2)]
    assert scale(desired=1, relays=relays, marked=(), ejected=_names(0)).surplus == _names(0)


def test_a_relay_that_hands_its_queue_over_or_cannot_is_still_chosen_by_a_new_operator() -> None:
    entries = tuple(
        RelayEntry(
            name=f"outbound-relay-{n}", state=state, weight=0, since="2026-01-01T00:00:00Z", reason=reason
        )
        for n, (state, reason) in enumerate(
            [
                (RelayState.HANDING_OFF, "HandingOff"),
                (RelayState.DRAINING, "HandOffBlocked"),
                (RelayState.DRAINING, "DrainRequested"),
            ]
        )
    )
    assert marked_before(SmtpPoolStatus(relays=entries)) == _names(0, 1)
