"""Who guesses is slowed down, who knows the password is not, and memory stays bounded."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.relay.users.throttle import FREE, LEAK_PER_S, MOST_DELAY_S, Throttle

ATTACKER, HOME = "198.51.100.7", "192.0.2.1"


def guesses(
    throttle: Throttle, number: int, *, now_s: float = 0.0, user: str = "alice"
) -> list[float | None]:
    return [throttle.admit(ATTACKER, user, now_s) for _ in range(number)]


def test_an_address_has_ten_guesses_and_then_ten_a_minute() -> None:
    throttle = Throttle()
    assert guesses(throttle, 12) == [0.0] * 10 + [None] * 2
    admitted = sum(
        throttle.admit(ATTACKER, f"user-{number}", 0.02 * number) is not None for number in range(30_000)
    )
    assert admitted <= 600 * LEAK_PER_S + 1


def test_an_address_that_is_quiet_may_try_again() -> None:
    throttle = Throttle()
    guesses(throttle, 20)
    assert throttle.admit(ATTACKER, "bob", FREE / LEAK_PER_S) == 0.0


def test_nobody_locks_a_user_out_but_attempts_for_the_name_wait() -> None:
    throttle = Throttle()
    for number in range(1000):
        throttle.admit(f"198.51.{number // 250}.{number % 250}", "alice", 0.0)
    assert throttle.admit(HOME, "alice", 0.0) == MOST_DELAY_S
    assert throttle.admit(HOME, "bob", 0.0) == 0.0


def test_a_client_that_has_logged_in_before_notices_nothing_of_an_attack_on_its_user() -> None:
    throttle = Throttle()
    assert throttle.admit(HOME, "alice", 0.0) == 0.0
    throttle.succeeded(HOME, "alice", 0.0)
    for number in range(1000):
        throttle.admit(f"198.51.{number // 250}.{number % 250}", "alice", 1.0)
    assert throttle.admit(HOME, "alice", 1.0) == 0.0


def test_a_client_that_has_logged_in_before_works_behind_the_address_of_an_attacker() -> None:
    throttle = Throttle()
    throttle.admit(ATTACKER, "alice", 0.0)
    throttle.succeeded(ATTACKER, "alice", 0.0)
    guesses(throttle, 50, user="bob")
    assert throttle.admit(ATTACKER, "bob", 0.0) is None
    assert throttle.admit(ATTACKER, "alice", 0.0) == 0.0


def test_knowing_a_client_gives_it_no_more_guesses_than_others_have() -> None:
    throttle = Throttle()
    throttle.admit(ATTACKER, "alice", 0.0)
    throttle.succeeded(ATTACKER, "alice", 0.0)
    assert sum(delay is not None for delay in guesses(throttle, 50)) == FREE


def test_right_passwords_cost_nothing() -> None:
    throttle = Throttle()
    for _ in range(1000):
        assert throttle.admit(HOME, "alice", 0.0) == 0.0
        throttle.succeeded(HOME, "alice", 0.0)


def test_all_of_an_ipv6_network_is_one_client_and_an_ipv4_address_is_one_however_it_is_written() -> None:
    throttle = Throttle()
    for number in range(FREE):
        throttle.admit(f"2001:db8::{number:x}", f"user-{number}", 0.0)
    assert throttle.admit("2001:db8::ffff", "bob", 0.0) is None
    assert throttle.admit("2001:db8:0:1::1", "bob", 0.0) == 0.0
    guesses(throttle, 20)
    assert throttle.admit(f"::ffff:{ATTACKER}", "bob", 0.0) is None


def test_memory_is_bounded_whatever_names_and_addresses_come() -> None:
    throttle = Throttle()
    for number in range(20_000):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        throttle.admit(address, f"user-{number}" * 10, 0.0)
        if number % 2:
            throttle.succeeded(address, f"user-{number}" * 10, 0.0)
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
        delay_s = throttle.admit(address, user, now_s)
        assert delay_s is None or 0.0 <= delay_s <= MOST_DELAY_S
        if right and delay_s is not None:
            throttle.succeeded(address, user, now_s)
