"""When a relay's network is said to have been away and to be back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.agent_status import DeferralReason
from smtpfleet.relay.isolation import CONNECTING_S, Isolation
from smtpfleet.relay.outcomes import Outcome

BALANCER, OTHER, API_SERVER = "10.0.0.1", "10.0.0.2", "the API server"


def _outcome(status: str, reason: DeferralReason | None = None, *, tried: bool = True) -> Outcome:
    return Outcome(status, tried=tried, delays_s=(0.0,) * 4, receiver=1, reason=reason)


SENT = _outcome("sent")
LOST = _outcome("deferred", DeferralReason.CONNECT_FAILED)
NO_DNS = _outcome("deferred", DeferralReason.DNS_FAILED)
PUT_OFF = _outcome("deferred", DeferralReason.REMOTE_TEMPORARY)
UNTRIED = _outcome("deferred", DeferralReason.SUSPENDED, tried=False)


class _Relay:
    """A relay that hears ``speakers`` four times a second and sends mail each second, which comes to ``mail``."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.isolation = Isolation(lambda: self.now_s)
        self.speakers = [BALANCER, OTHER]
        self.mail: Outcome | None = SENT
        self.over = 0

    def run(self, seconds: float) -> int:
        """Returns how often the network was said to be back."""
        before = self.over
        for quarter in range(int(4 * seconds)):
            self.now_s += 0.25
            for who in self.speakers:
                self.isolation.heard(who)
            if quarter % 4 == 0:
                if self.mail is not None:
                    self.isolation.add(self.mail)
                self.over += self.isolation.is_over()
        return self.over - before


@pytest.fixture
def relay() -> _Relay:
    relay = _Relay()
    relay.run(60)
    return relay


@pytest.mark.parametrize("lost", [LOST, NO_DNS, _outcome("deferred", DeferralReason.CONNECTION_LOST)])
@pytest.mark.parametrize("seconds", [10, 60, 3600])
def test_a_node_that_was_cut_off_is_back_once(relay: _Relay, lost: Outcome, seconds: int) -> None:
    relay.speakers, relay.mail = [OTHER], lost
    assert relay.run(seconds) == 0
    relay.speakers = [BALANCER, OTHER]
    assert relay.run(1) == 1
    relay.mail = SENT
    assert relay.run(600) == 0


def test_a_next_hop_that_was_down_keeps_its_back_off(relay: _Relay) -> None:
    relay.mail = LOST
    assert relay.run(600) == 0
    relay.mail = SENT
    assert relay.run(600) == 0


@pytest.mark.parametrize("mail", [SENT, PUT_OFF, UNTRIED, None])
def test_a_balancer_that_was_away_says_nothing_while_mail_gets_through_or_there_is_none(
    relay: _Relay, mail: Outcome | None
) -> None:
    relay.speakers, relay.mail = [OTHER], mail
    relay.run(60)
    relay.speakers = [BALANCER, OTHER]
    assert relay.run(60) == 0


def test_mail_that_failed_before_a_balancer_was_away_says_nothing_of_the_network(relay: _Relay) -> None:
    relay.mail = LOST
    relay.run(10)
    relay.mail = None
    relay.run(3600)
    relay.speakers = [OTHER]
    relay.run(10)
    relay.speakers = [BALANCER, OTHER]
    assert relay.run(60) == 0


@pytest.mark.parametrize("looks_first", [True, False])
def test_who_stood_still_himself_heard_no_silence(relay: _Relay, looks_first: bool) -> None:
    relay.mail = LOST
    relay.run(60)
    relay.now_s += 10
    if looks_first:
        assert not relay.isolation.is_over()
    assert relay.run(60) == 0


def test_a_moment_of_silence_is_none(relay: _Relay) -> None:
    relay.mail = LOST
    relay.run(60)
    for _ in range(10):
        relay.speakers = [OTHER]
        relay.run(4)
        relay.speakers = [BALANCER, OTHER]
        assert relay.run(4) == 0


def test_mail_may_get_through_before_the_api_server_is_heard(relay: _Relay) -> None:
    relay.speakers = [API_SERVER]
    relay.run(10)
    relay.speakers, relay.mail = [], LOST
    relay.run(60)
    relay.mail = SENT
    relay.run(10)
    relay.speakers = [API_SERVER]
    assert relay.run(60) == 1


def test_an_attempt_that_began_without_network_may_fail_after_its_return(relay: _Relay) -> None:
    relay.speakers, relay.mail = [OTHER], None
    relay.run(20)
    relay.speakers = [BALANCER, OTHER]
    assert relay.run(CONNECTING_S - 5) == 0
    relay.mail = LOST
    assert relay.run(2) == 1


def test_what_is_remembered_of_speakers_is_bounded(relay: _Relay) -> None:
    relay.mail = LOST
    relay.run(60)
    for number in range(1000):
        relay.isolation.heard(f"10.1.0.{number}")
    relay.run(10)
    relay.isolation.heard("10.1.0.1")
    assert not relay.isolation.is_over()
    relay.isolation.heard("10.1.0.999")
    assert relay.isolation.is_over()


_ACTS = st.sampled_from([BALANCER, API_SERVER, SENT, LOST, PUT_OFF, UNTRIED, NO_DNS])


@given(st.lists(st.tuples(st.floats(0, 20), _ACTS), max_size=80))
def test_the_network_is_never_said_to_be_back_without_both_signs(
    acts: list[tuple[float, Outcome | str]],
) -> None:
    now_s, silences, failures, told = 0.0, 0, 0, 0
    isolation = Isolation(lambda: now_s)
    heard: dict[str, float] = {}
    for wait_s, act in acts:
        now_s += wait_s
        if isinstance(act, str):
            silences += now_s - heard.get(act, now_s) >= 5
            heard[act] = now_s
            isolation.heard(act)
        else:
            failures += act in (LOST, NO_DNS)
            isolation.add(act)
        told += isolation.is_over()
        assert told <= silences
        assert not told or failures
