"""Canaries: when one is due, and what became of those that were sent."""

import hashlib
import random
from datetime import UTC, datetime
from email import message_from_bytes

import pytest

from smtpfleet.api.agent_status import Canary as Back
from smtpfleet.api.agent_status import CanaryStatus
from smtpfleet.api.probes import CANARY, CANARY_BYTES
from smtpfleet.probing.canaries import KEPT, Canaries, Canary, Heard, made

KEY = ("mail", "outbound")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Fleet:
    """Agents that say what ``back`` holds, asked at ``asked``."""

    def __init__(self, interval_s: float = 30.0) -> None:
        self.now = 1000.0
        self.up_s = 500.0
        self.asked_s = 0.0
        self.back: dict[str, list[Back]] = {"r0": [], "r1": [], "r2": []}
        self.uid = "uid"
        self.canaries = Canaries(
            self._heard, clock=lambda: self.now, random=random.Random(1).randbytes, now=lambda: NOW
        )
        self.canaries.follow(KEY, interval_s, late_s=20.0)

    def _heard(self, key: tuple[str, str], relay: str) -> Heard | None:
        assert key == KEY
        if relay not in self.back:
            return None
        return Heard(CanaryStatus(up_s=self.up_s, returned=tuple(self.back[relay])), self.uid, self.asked_s)

    def due(self, relay: str = "r0") -> Canary | None:
        return self.canaries.next(KEY, relay, "uid")

    def send(self, relay: str = "r0") -> Canary:
        canary = self.due(relay)
        assert canary is not None
        self.canaries.sent(KEY, relay, "uid", canary)
        return canary

    def returns(self, canary: Canary, relay: str = "r0", *, queue_s: float = 0.1, digest: str = "") -> None:
        self.back[relay].insert(0, Back(id=canary.id, digest=digest or canary.digest, queue_s=queue_s))


def test_a_canary_is_a_message_to_its_address_with_a_body_of_its_own() -> None:
    generator = random.Random(7).randbytes
    one, two = made(generator, NOW), made(generator, NOW)
    parsed = message_from_bytes(one.message)
    assert (parsed["From"], parsed["To"]) == (f"<{CANARY}>", f"<{CANARY}>")
    assert parsed["Message-ID"] == f"<{one.id}@canary.smtpfleet.invalid>"
    header, _, body = one.message.partition(b"\r\n\r\n")
    assert hashlib.sha256(body).hexdigest() == one.digest != two.digest
    assert b"\r\n." in body
    assert all(len(line) < 100 for line in one.message.split(b"\r\n"))
    assert b"Date:" in header
    assert len(one.message) < CANARY_BYTES


def test_one_is_due_once_an_interval_and_at_once_for_a_new_pod() -> None:
    fleet = Fleet()
    fleet.send()
    fleet.now += 29
    assert fleet.due() is None
    fleet.now += 1
    assert fleet.due() is not None
    fleet.send()
    fleet.uid = "another"
    assert fleet.due() is None  # what is known is of another pod
    assert fleet.canaries.next(KEY, "r0", "another") is not None


def test_none_is_sent_to_an_agent_that_takes_none_or_if_nobody_wants_it() -> None:
    fleet = Fleet()
    assert fleet.due("older") is None
    fleet.canaries.follow(KEY, 0.0, late_s=20.0)
    assert fleet.due() is None
    fleet.canaries.sent(KEY, "r0", "uid", made(random.randbytes, NOW))
    assert fleet.canaries.reports(KEY, "r0") == ()


def test_what_came_back_is_told_with_its_time_and_whether_it_is_unchanged() -> None:
    fleet = Fleet()
    fleet.returns(fleet.send(), queue_s=0.25)
    fleet.now += 30
    fleet.returns(fleet.send(), digest="0" * 64)
    fleet.now += 30
    fleet.send()
    fleet.now += 8
    fleet.asked_s = 5.0
    newest, altered, oldest = fleet.canaries.reports(KEY, "r0")
    assert (newest.took_s, newest.sent_s, newest.waited_s, newest.intact) == (None, 8.0, 3.0, True)
    assert (altered.took_s, altered.intact) == (0.1, False)
    assert (oldest.took_s, oldest.intact) == (0.25, True)


def test_the_last_few_are_remembered() -> None:
    fleet = Fleet()
    for _ in range(KEPT + 2):
        fleet.send()
        fleet.now += 30
    assert len(fleet.canaries.reports(KEY, "r0")) == KEPT


@pytest.mark.parametrize("way", ["agent restarted", "another pod", "pool gone"])
def test_what_nobody_can_know_any_more_is_forgotten(way: str) -> None:
    fleet = Fleet()
    fleet.send()
    fleet.now += 20
    assert len(fleet.canaries.reports(KEY, "r0")) == 1
    if way == "agent restarted":
        fleet.up_s = 15.0
    elif way == "another pod":
        fleet.uid = "another"
    else:
        fleet.canaries.forget(KEY)
    assert fleet.canaries.reports(KEY, "r0") == ()


def test_while_one_is_missing_the_siblings_get_theirs_at_once_and_only_once() -> None:
    fleet = Fleet(interval_s=300.0)
    fleet.returns(fleet.send("r1"), "r1")
    fleet.now += 5
    fleet.send("r0")
    fleet.now += 9
    fleet.canaries.reports(KEY, "r0")  # as after each of its probes
    assert fleet.due("r1") is None
    fleet.now += 1
    fleet.canaries.reports(KEY, "r0")
    fleet.returns(fleet.send("r1"), "r1")
    assert fleet.due("r0") is None  # the one that is missing has company enough
    fleet.now += 15
    fleet.canaries.reports(KEY, "r0")
    assert fleet.due("r1") is None
