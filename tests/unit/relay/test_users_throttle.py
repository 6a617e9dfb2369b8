"""Who guesses is slowed down, who knows the password is not, and memory stays bounded."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.relay.users.throttle import AT_ONCE, FREE, LEAK_PER_S, MOST_DELAY_S, Throttle

ATTACKER, HOME = "198.51.100.7", "192.0.2.1"


def guess(throttle: Throttle, address: str, user: str = "alice", now_s: float = 0.0) -> float | None:
    """A wrong password."""
    delay_s = throttle.admit(address, user, now_s)
    if delay_s is not None:
        throttle.failed(address, user, now_s)
    return delay_s


def log_in(throttle: Throttle, address: str, user: str = "alice", now_s: float = 0.0) -> float | None:
    """A right one."""
    delay_s = throttle.admit(address, user, now_s)
    if delay_s is not None:
        throttle.succeeded(address, user)
    return delay_s


def everywhere(throttle: Throttle, now_s: float = 0.0) -> None:
    """A thousand addresses guess one user's password."""
    for number in range(1000):
        guess(throttle, f"198.51.{number // 250}.{number % 250}", now_s=now_s)


def test_an_address_has_ten_guesses_and_then_ten_a_minute() -> None:
    throttle = Throttle()
    assert [guess(throttle, ATTACKER) for _ in range(12)] == [0.0] * 10 + [None] * 2
    moments = [0.02 * number for number in range(30_000)]
    admitted = sum(guess(throttle, ATTACKER, f"user-{now_s}", now_s) is not None for now_s in moments)
    assert admitted <= moments[-1] * LEAK_PER_S + 1


def test_an_address_that_is_quiet_may_try_again() -> None:
    throttle = Throttle()
    for _ in range(20):
        guess(throttle, ATTACKER)
    assert log_in(throttle, ATTACKER, "bob", FREE / LEAK_PER_S) == 0.0


def test_many_at_once_are_no_way_round() -> None:
    throttle = Throttle()
    admitted = [throttle.admit(ATTACKER, "alice", 0.0) for _ in range(100)]
    assert sum(delay is not None for delay in admitted) == AT_ONCE
    for _ in range(AT_ONCE):
        throttle.failed(ATTACKER, "alice", 0.0)
    assert guess(throttle, ATTACKER, now_s=(AT_ONCE - FREE) / LEAK_PER_S - 1) is None


def test_many_users_behind_one_address_log_in_at_once() -> None:
    throttle = Throttle()
    users = [f"user-{number}" for number in range(AT_ONCE)]
    assert [throttle.admit(HOME, user, 0.0) for user in users] == [0.0] * AT_ONCE
    for user in users:
        throttle.succeeded(HOME, user)
    assert log_in(throttle, HOME, "one-more") == 0.0


def test_nobody_locks_a_user_out_but_attempts_for_the_name_wait() -> None:
    throttle = Throttle()
    everywhere(throttle)
    assert log_in(throttle, HOME) == MOST_DELAY_S
    assert log_in(throttle, HOME, "bob") == 0.0


def test_a_client_that_has_logged_in_before_notices_nothing_of_an_attack_on_its_user() -> None:
    throttle = Throttle()
    log_in(throttle, HOME)
    everywhere(throttle, 1.0)
    assert log_in(throttle, HOME, now_s=1.0) == 0.0


def test_a_client_that_has_logged_in_before_works_behind_the_address_of_an_attacker() -> None:
    throttle = Throttle()
    log_in(throttle, ATTACKER)
    for _ in range(50):
        guess(throttle, ATTACKER, "bob")
    assert guess(throttle, ATTACKER, "bob") is None
    assert log_in(throttle, ATTACKER) == 0.0


def test_knowing_a_client_gives_it_no_more_guesses_than_others_have() -> None:
    throttle = Throttle()
    log_in(throttle, ATTACKER)
    assert sum(guess(throttle, ATTACKER) is not None for _ in range(50)) == FREE


def test_an_address_only_guesses_until_a_user_logs_in_from_it_or_it_is_quiet() -> None:
    throttle = Throttle()
    log_in(throttle, HOME)
    for address in (ATTACKER, HOME):
        assert not throttle.only_guesses(address, 0.0)
        for number in range(FREE):
            guess(throttle, address, f"user-{number}")
    assert throttle.only_guesses(ATTACKER, 0.0)
    assert not throttle.only_guesses(ATTACKER, 10.0)
    assert not throttle.only_guesses(HOME, 0.0)


def test_a_home_is_forgotten_with_its_last_user() -> None:
    throttle = Throttle()
    log_in(throttle, HOME)
    for number in range(2048):
        log_in(throttle, f"10.0.{number >> 8}.{number & 255}")
    for number in range(FREE):
        guess(throttle, HOME, f"user-{number}")
    assert throttle.only_guesses(HOME, 0.0)


def test_right_passwords_and_attempts_that_were_not_looked_at_cost_nothing() -> None:
    throttle = Throttle()
    for _ in range(1000):
        assert log_in(throttle, HOME) == 0.0
        assert throttle.admit(HOME, "bob", 0.0) == 0.0
        throttle.abandoned(HOME, "bob")


def test_all_of_an_ipv6_network_is_one_client_and_an_ipv4_address_is_one_however_it_is_written() -> None:
    throttle = Throttle()
    for number in range(FREE):
        guess(throttle, f"2001:db8::{number:x}", f"user-{number}")
    assert guess(throttle, "2001:db8::ffff", "bob") is None
    assert guess(throttle, "2001:db8:0:1::1", "bob") == 0.0
    for _ in range(20):
        guess(throttle, ATTACKER)
    assert guess(throttle, f"::ffff:{ATTACKER}", "bob") is None


def test_memory_is_bounded_whatever_names_and_addresses_come() -> None:
    throttle = Throttle()
    for number in range(20_000):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        if number % 2:
            log_in(throttle, address, f"user-{number}" * 10)
        guess(throttle, address, f"user-{number}" * 10)
    assert len(throttle) <= 4 * 2048


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.booleans(), st.floats(0, 60)), max_size=80
    )
)
def test_a_delay_is_never_more_than_a_client_waits_for(steps: list[tuple[str, str, bool, float]]) -> None:
    throttle = Throttle()
    moments = itertools.accumulate(passed for *_, passed in steps)
    for (address, user, right, _), now_s in zip(steps, moments, strict=True):
        delay_s = (log_in if right else guess)(throttle, address, user, now_s)
        assert delay_s is None or 0.0 <= delay_s <= MOST_DELAY_S
