"""The election in virtual time: one leader at most, takeover in time, no restart for an outage alone."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpfleet.cluster.errors import NotLeadingError
from smtpfleet.controller.election import Elector, LeaseLostError, Timing
from tests.unit.controller.leases import Shelf, View

pytestmark = pytest.mark.looptime

TIMING = Timing(duration_s=12, deadline_s=8, retry_s=2, call_s=4)


def _elector(shelf: Shelf, name: str) -> tuple[Elector, View]:
    view = View(shelf)
    elector = Elector(
        view, identity=name, timing=TIMING, jitter=lambda: 0.5, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )
    return elector, view


def _now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_lease_that_nobody_holds_is_taken_at_once() -> None:
    shelf = Shelf()
    elector, _ = _elector(shelf, "a")
    await elector.acquire()
    assert elector.leading
    assert _now() < 0.1
    assert shelf.record is not None
    assert shelf.record.holder == "a"


async def test_the_second_waits_while_the_first_renews() -> None:
    shelf = Shelf()
    (one, _), (two, _) = _elector(shelf, "a"), _elector(shelf, "b")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(600)
    assert one.leading
    assert not waiting.done()
    for task in (holding, waiting):
        task.cancel()


async def test_a_holder_that_died_is_replaced_within_twenty_seconds() -> None:
    shelf = Shelf()
    (one, _), (two, _) = _elector(shelf, "a"), _elector(shelf, "b")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(30)
    holding.cancel()
    died = _now()
    await waiting
    assert TIMING.deadline_s < _now() - died < 20


async def test_a_holder_that_stops_in_order_is_replaced_at_once() -> None:
    shelf = Shelf()
    (one, _), (two, _) = _elector(shelf, "a"), _elector(shelf, "b")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(5)
    await one.release()
    assert not one.leading
    stopped = _now()
    await waiting
    assert _now() - stopped <= 3


async def test_the_fence_closes_when_renewals_fail_before_anybody_else_may_take_over() -> None:
    shelf = Shelf()
    (one, view), (two, _) = _elector(shelf, "a"), _elector(shelf, "b")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(20)
    view.away = True
    fenced_at = None
    while not waiting.done():
        await asyncio.sleep(0.1)
        if fenced_at is None and not one.leading:
            fenced_at = _now()
        assert not (one.leading and two.leading)
    assert fenced_at is not None
    assert fenced_at < _now()
    with pytest.raises(NotLeadingError):
        one.fence()
    two.fence()
    view.away = False
    with pytest.raises(LeaseLostError):
        await holding


@pytest.mark.parametrize("trouble", ["away", "hangs"])
async def test_an_outage_that_hits_everybody_ends_in_leading_again(trouble: str) -> None:
    shelf = Shelf()
    one, view = _elector(shelf, "a")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    await asyncio.sleep(20)
    setattr(view, trouble, True)
    await asyncio.sleep(300)
    assert not one.leading
    assert one.idle_s < 10
    setattr(view, trouble, False)
    await asyncio.sleep(7)
    assert one.leading
    assert not holding.done()
    holding.cancel()


async def test_a_call_that_hangs_does_not_outlive_the_deadline() -> None:
    shelf = Shelf()
    one, view = _elector(shelf, "a")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    await asyncio.sleep(20)
    view.hangs = True
    await asyncio.sleep(TIMING.deadline_s + 0.1)
    assert not one.leading
    holding.cancel()


async def test_the_fence_says_how_long_what_passes_it_may_last() -> None:
    elector, _ = _elector(Shelf(), "a")
    await elector.acquire()
    acquired = elector.fence()
    assert acquired == pytest.approx(TIMING.deadline_s, abs=0.1)
    await asyncio.sleep(5)
    assert elector.fence() == pytest.approx(acquired - 5)


async def test_a_renewal_whose_answer_was_lost_is_recognised_as_ones_own() -> None:
    shelf = Shelf()
    one, view = _elector(shelf, "a")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    view.late_answers = True
    await asyncio.sleep(5)
    view.late_answers = False
    await asyncio.sleep(6)
    assert one.leading
    assert not holding.done()
    holding.cancel()


async def test_a_lease_taken_without_hearing_of_it_is_recognised_as_ones_own() -> None:
    shelf = Shelf()
    one, view = _elector(shelf, "a")
    view.late_answers = True
    acquiring = asyncio.create_task(one.acquire())
    await asyncio.sleep(1)
    view.late_answers = False
    await acquiring
    assert _now() < 3


async def test_a_lease_that_somebody_deleted_is_made_again() -> None:
    shelf = Shelf()
    one, _ = _elector(shelf, "a")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    await asyncio.sleep(5)
    shelf.record = None
    await asyncio.sleep(10)
    assert one.leading
    assert shelf.record is not None
    assert shelf.record.holder == "a"
    holding.cancel()


async def test_a_holder_that_was_stopped_for_long_and_goes_on_may_not_write() -> None:
    shelf = Shelf()
    (one, _), (two, _) = _elector(shelf, "a"), _elector(shelf, "b")
    await one.acquire()
    await two.acquire()  # the first one sleeps all the while
    assert not one.leading
    with pytest.raises(NotLeadingError):
        one.fence()
    with pytest.raises(LeaseLostError):
        await one.hold()


async def test_releasing_does_not_take_the_lease_from_another() -> None:
    shelf = Shelf()
    (one, _), (two, _) = _elector(shelf, "a"), _elector(shelf, "b")
    await one.acquire()
    await two.acquire()
    await one.release()
    assert shelf.record is not None
    assert shelf.record.holder == "b"


async def test_each_takeover_is_counted() -> None:
    shelf = Shelf()
    for name in ("a", "b", "c"):
        elector, _ = _elector(shelf, name)
        await elector.acquire()
        await elector.release()
    assert shelf.record is not None
    assert shelf.record.transitions == 2


@pytest.mark.parametrize(
    "times",
    [
        {"duration_s": 8, "deadline_s": 8},
        {"retry_s": 7},
        {"retry_s": 0},
        {"call_s": 9},
    ],
)
async def test_times_that_could_give_two_leaders_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="deadline"):
        Timing(**times)  # type: ignore[arg-type] # wrong on purpose


_OUTAGES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["away", "hangs", "late_answers"]), st.integers(1, 60)),
    max_size=12,
)


@settings(max_examples=40)
@given(_OUTAGES)
async def test_there_never_are_two_leaders_whatever_fails_for_whom(
    outages: list[tuple[int, str, int]],
) -> None:
    shelf = Shelf()
    competitors = [_elector(shelf, name) for name in "abc"]

    async def compete(elector: Elector) -> None:
        while True:
            await elector.acquire()
            try:
                await elector.hold()
            except LeaseLostError:
                await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(compete(elector)) for elector, _ in competitors]
    for number, trouble, seconds in outages:
        view = competitors[number][1]
        setattr(view, trouble, not getattr(view, trouble))
        for _ in range(seconds * 2):
            await asyncio.sleep(0.5)
            assert sum(elector.leading for elector, _ in competitors) <= 1
    for _, view in competitors:
        view.away = view.hangs = view.late_answers = False
    await asyncio.sleep(40)
    assert sum(elector.leading for elector, _ in competitors) == 1
    for task in tasks:
        task.cancel()
