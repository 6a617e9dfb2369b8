"""The ledger: a watch that owes a change is found out, an idle one and an outage are not mistaken for it."""

import pytest

from smtpfleet.controller.ledger import WatchLedger

SCOPE = ("Pod", "mail", "outbound")


class Clock:
    """Seconds, moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> WatchLedger:
    return WatchLedger(clock)


def _thing(uid: str, version: str) -> dict[str, dict[str, str]]:
    return {"metadata": {"uid": uid, "resourceVersion": version}}


def _watched(ledger: WatchLedger, uid: str, version: str, *, deleted: bool = False) -> None:
    ledger.watched(kind="Pod", uid=uid, version=version, deleted=deleted)


def test_a_version_that_was_watched_before_it_was_listed_is_not_owed(ledger: WatchLedger) -> None:
    _watched(ledger, "u", "7")
    ledger.listed(SCOPE, [_thing("u", "7")])
    assert ledger.behind_s() == {}


def test_a_listed_version_is_owed_until_it_or_a_later_one_arrives(ledger: WatchLedger, clock: Clock) -> None:
    _watched(ledger, "u", "7")
    ledger.listed(SCOPE, [_thing("u", "9")])
    clock.now += 5
    assert ledger.behind_s() == {"Pod": 5}
    _watched(ledger, "u", "10")
    assert ledger.behind_s() == {}


def test_versions_are_compared_as_numbers(ledger: WatchLedger) -> None:
    _watched(ledger, "u", "10")
    ledger.listed(SCOPE, [_thing("u", "9")])
    assert ledger.behind_s() == {}


def test_a_change_on_every_list_does_not_hide_that_nothing_arrives(ledger: WatchLedger, clock: Clock) -> None:
    for version in ("1", "2", "3"):
        ledger.listed(SCOPE, [_thing("u", version)])
        clock.now += 50
    assert ledger.behind_s() == {"Pod": 150}


def test_a_watch_that_is_late_but_alive_gets_new_time_for_each_change(
    ledger: WatchLedger, clock: Clock
) -> None:
    ledger.listed(SCOPE, [_thing("u", "1")])
    clock.now += 50
    _watched(ledger, "u", "1")
    ledger.listed(SCOPE, [_thing("u", "2")])
    clock.now += 10
    assert ledger.behind_s() == {"Pod": 10}


def test_an_object_that_is_gone_is_owed_no_longer(ledger: WatchLedger, clock: Clock) -> None:
    ledger.listed(SCOPE, [_thing("u", "1")])
    clock.now += 50
    ledger.listed(SCOPE, [])
    assert ledger.behind_s() == {}


def test_a_pool_that_is_gone_is_owed_nothing(ledger: WatchLedger, clock: Clock) -> None:
    ledger.listed(SCOPE, [_thing("u", "1")])
    ledger.listed(("Pod", "mail", "other"), [_thing("v", "1")])
    clock.now += 50
    ledger.forget("mail", "outbound")
    ledger.forget("mail", "other")
    assert ledger.behind_s() == {}


def test_without_lists_as_in_an_outage_nothing_is_owed(ledger: WatchLedger, clock: Clock) -> None:
    _watched(ledger, "u", "7")
    ledger.listed(SCOPE, [_thing("u", "7")])
    clock.now += 10_000
    assert ledger.behind_s() == {}
    assert ledger.age_s() == {"Pod": 10_000}


def test_watches_that_start_anew_get_new_time_and_have_to_deliver_everything_again(
    ledger: WatchLedger, clock: Clock
) -> None:
    _watched(ledger, "u", "7")
    ledger.listed(SCOPE, [_thing("v", "1")])
    clock.now += 80
    ledger.restart()
    assert ledger.behind_s() == {}
    ledger.listed(SCOPE, [_thing("u", "7")])
    clock.now += 3
    assert ledger.behind_s() == {"Pod": 3}


def test_an_object_that_was_deleted_and_made_again_is_watched_anew(ledger: WatchLedger, clock: Clock) -> None:
    _watched(ledger, "u", "7")
    _watched(ledger, "u", "8", deleted=True)
    ledger.listed(SCOPE, [_thing("u", "7")])
    clock.now += 1
    assert ledger.behind_s() == {"Pod": 1}
