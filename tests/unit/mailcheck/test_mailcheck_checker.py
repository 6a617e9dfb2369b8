"""The verdict on mail: each kind of fault is found, alone and among any others, and nothing else is."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcheck.checker import check, fully_drained, outstanding
from mailcheck.errors import MailcheckError
from mailcheck.model import Arrival, Attempt, Outcome
from tests.unit.mailcheck.records import arrival, attempt

OTHERS = [o for o in Outcome if o is not Outcome.ACKNOWLEDGED]
A, B, C = "a@example.net", "b@example.net", "c@example.net"


def test_nothing_handed_in_and_nothing_arrived_is_valid() -> None:
    assert check([], []).ok


def test_an_acknowledged_message_that_arrived_once_is_valid_and_nothing_else() -> None:
    verdict = check([attempt()], [arrival()])
    assert verdict.ok
    assert (verdict.attempted, verdict.delivered, verdict.errors) == (1, 1, 0)
    assert [*verdict.duplicated, *verdict.recovered, *verdict.contradicted] == []


def test_an_acknowledged_message_that_never_arrived_is_lost() -> None:
    verdict = check([attempt("m1"), attempt("m2")], [arrival("m2")])
    assert verdict.lost == (("m1", "r@example.net"),)
    assert not verdict.ok


@pytest.mark.parametrize("outcome", OTHERS)
def test_a_message_that_was_not_acknowledged_may_stay_away(outcome: Outcome) -> None:
    verdict = check([attempt(outcome=outcome)], [])
    assert verdict.ok
    assert verdict.errors == 1


def test_an_indeterminate_message_that_arrived_is_recovered() -> None:
    verdict = check([attempt(outcome=Outcome.INDETERMINATE)], [arrival()])
    assert verdict.recovered == (("m1", "r@example.net"),)
    assert verdict.ok
    assert not verdict.contradicted


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.FAILED_BEFORE])
def test_a_refused_message_that_arrived_contradicts_the_refusal(outcome: Outcome) -> None:
    verdict = check([attempt(outcome=outcome)], [arrival()])
    assert verdict.contradicted == (("m1", "r@example.net"),)
    assert not verdict.recovered


def test_a_second_arrival_is_a_duplicate_with_its_count() -> None:
    verdict = check([attempt()], [arrival(), arrival(), arrival()])
    assert verdict.duplicated == {("m1", "r@example.net"): 3}
    assert verdict.extra_copies == 2
    assert verdict.ok


def test_a_message_that_was_never_attempted_is_unexpected() -> None:
    stranger = arrival("m9")
    verdict = check([attempt("m1")], [arrival("m1"), stranger])
    assert verdict.unexpected == (stranger,)
    assert not verdict.ok


def test_a_message_without_message_id_is_unexpected() -> None:
    assert check([attempt()], [arrival(), arrival("")]).unexpected == (arrival(""),)


def test_a_recipient_who_was_never_named_is_unexpected_and_the_named_ones_still_count() -> None:
    verdict = check([attempt(recipients=(A,))], [arrival(recipients=(A, B))])
    assert len(verdict.unexpected) == 1
    assert not verdict.lost


def test_another_body_is_corrupted_but_not_lost() -> None:
    changed = arrival(digest="e" * 64)
    verdict = check([attempt()], [changed])
    assert verdict.corrupted == (changed,)
    assert not verdict.lost
    assert not verdict.ok


def test_a_message_split_into_several_deliveries_is_whole_and_not_duplicated() -> None:
    verdict = check([attempt(recipients=(A, B, C))], [arrival(recipients=(A, C)), arrival(recipients=(B,))])
    assert verdict.ok
    assert verdict.delivered == 3
    assert not verdict.duplicated


def test_each_recipient_of_an_acknowledged_message_is_owed() -> None:
    verdict = check([attempt(recipients=(A, B, C))], [arrival(recipients=(A, C))])
    assert verdict.lost == (("m1", B),)


def test_a_recipient_that_was_refused_is_not_owed() -> None:
    partly = attempt(recipients=(A, B), refused=(B,))
    assert check([partly], [arrival(recipients=(A,))]).ok
    assert check([partly], [arrival(recipients=(A, B))]).contradicted == (("m1", B),)


def test_every_outcome_is_counted() -> None:
    attempts = [attempt(f"m{i}", o) for i, o in enumerate([*Outcome, Outcome.REJECTED])]
    verdict = check(attempts, [arrival("m0")])
    assert verdict.outcomes == {**dict.fromkeys(Outcome, 1), Outcome.REJECTED: 2}
    assert verdict.errors == 4


def test_two_attempts_with_one_message_id_cannot_be_judged() -> None:
    with pytest.raises(MailcheckError, match="m1"):
        check([attempt("m1"), attempt("m1")], [])


def test_outstanding_is_what_was_acknowledged_and_has_not_arrived() -> None:
    attempts = [attempt("m1"), attempt("m2", Outcome.INDETERMINATE), attempt("m3")]
    assert outstanding(attempts, [arrival("m3")]) == (("m1", "r@example.net"),)


@pytest.mark.parametrize(
    ("arrivals", "queued", "drained"),
    [([arrival()], 0, True), ([arrival()], 1, False), ([], 0, False), ([], 1, False)],
)
def test_drained_means_that_nothing_is_owed_and_nothing_is_queued(
    arrivals: list[Arrival], queued: int, drained: bool
) -> None:
    assert fully_drained([attempt()], arrivals, queued=queued) is drained


# A run is drawn as what each pair of message and recipient went through; the verdict must read it back.

outcomes = st.lists(st.sampled_from(Outcome), min_size=1, max_size=12)


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Attempt], Counter[tuple[str, str]]]:
    """Attempts, and how often each pair arrived."""
    attempts = []
    copies: Counter[tuple[str, str]] = Counter()
    for number, outcome in enumerate(draw(outcomes)):
        recipients = (A, B, C)[: draw(st.integers(1, 3))]
        refused = recipients[1:] if outcome is Outcome.ACKNOWLEDGED and draw(st.booleans()) else ()
        attempts.append(attempt(f"m{number}", outcome, recipients=recipients, refused=refused))
        copies.update({(f"m{number}", r): draw(st.integers(0, 3)) for r in recipients})
    return attempts, copies


def arrivals_of(copies: Counter[tuple[str, str]]) -> list[Arrival]:
    return [arrival(id_, recipients=(recipient,)) for id_, recipient in copies.elements()]


@given(runs())
def test_any_run_is_read_back_pair_by_pair(run: tuple[list[Attempt], Counter[tuple[str, str]]]) -> None:
    attempts, copies = run
    by_id = {a.id: a for a in attempts}
    verdict = check(attempts, arrivals_of(copies))
    owed = {(a.id, r) for a in attempts for r in a.owed}
    arrived = {pair for pair, n in copies.items() if n}
    indeterminate = {pair for pair in arrived if by_id[pair[0]].outcome is Outcome.INDETERMINATE}
    assert set(verdict.lost) == owed - arrived
    assert verdict.duplicated == {pair: n for pair, n in copies.items() if n > 1}
    assert set(verdict.recovered) == indeterminate
    assert set(verdict.contradicted) == arrived - owed - indeterminate
    assert verdict.delivered == len(arrived)
    assert verdict.ok is (owed <= arrived)


@given(runs(), st.data())
def test_negative_control_any_one_arrival_taken_away_turns_a_clean_run_red(
    run: tuple[list[Attempt], Counter[tuple[str, str]]], data: st.DataObject
) -> None:
    attempts = run[0] + [attempt("certain")]
    pairs = [(a.id, r) for a in attempts for r in a.owed]
    clean = arrivals_of(Counter(pairs))
    assert check(attempts, clean).ok
    taken = data.draw(st.integers(0, len(clean) - 1))
    verdict = check(attempts, clean[:taken] + clean[taken + 1 :])
    assert verdict.lost == (pairs[taken],)
    assert not verdict.ok


@given(runs(), st.data())
def test_any_one_arrival_altered_or_invented_turns_a_run_red(
    run: tuple[list[Attempt], Counter[tuple[str, str]]], data: st.DataObject
) -> None:
    attempts, copies = run
    arrivals = [*arrivals_of(copies), arrival("m0", recipients=(A,))]
    index = data.draw(st.integers(0, len(arrivals) - 1))
    altered = replace(arrivals[index], digest="altered")
    assert check(attempts, [*arrivals[:index], altered, *arrivals[index + 1 :]]).corrupted == (altered,)
    invented = replace(arrivals[index], id="invented")
    assert check(attempts, [*arrivals, invented]).unexpected == (invented,)


@given(runs(), st.randoms(use_true_random=False))
def test_the_order_of_arrivals_and_their_grouping_do_not_matter(
    run: tuple[list[Attempt], Counter[tuple[str, str]]], rng: Random
) -> None:
    attempts, copies = run
    arrivals = arrivals_of(copies)
    shuffled = list(arrivals)
    rng.shuffle(shuffled)
    one, other = check(attempts, arrivals), check(attempts, shuffled)
    assert set(one.lost) == set(other.lost)
    assert one.duplicated == other.duplicated
    assert one.ok is other.ok
