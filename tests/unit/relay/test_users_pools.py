"""Other pools as users: their Secrets, and that nothing of it touches the users."""

import pytest

from smtpfleet.api.routing import SubmissionAuthentication
from smtpfleet.api.submission import TlsMode
from smtpfleet.relay.mainconf import Phase, render
from smtpfleet.relay.users.book import UnavailableError, UserBook
from smtpfleet.relay.users.entry import EntryError, opened, sealed
from smtpfleet.relay.users.hashes import ScramKey, verify
from smtpfleet.relay.users.judge import Judge, Verdict
from smtpfleet.relay.users.mechanisms import Password
from smtpfleet.relay.users.pools import Everybody, PoolBook, logins, seal
from smtpfleet.relay.users.throttle import FREE
from smtpfleet.relay.users.verifier import Verifier
from tests.unit.relay.goldens import CHAIN, HOST, parameters, table
from tests.unit.relay.known import Known

pytestmark = pytest.mark.looptime

CANARY = "canary-of-the-test"
NAME = "pool;news"
NEWS = {NAME: "news-login"}


async def known(password: str = CANARY) -> Known:
    content = {"username": NAME.encode(), "password": password.encode()}
    return Known({"news-login": await seal(content)})


async def logged_in() -> PoolBook:
    book = PoolBook()
    assert book.update(NEWS, await known())
    return book


async def test_no_password_is_kept_in_clear() -> None:
    kept = dict((await known()).contents["news-login"])
    assert CANARY.encode() not in b"".join(kept.values())
    user = (await logged_in()).find(NAME)
    assert isinstance(user.hash, ScramKey)
    assert verify(user.hash, CANARY)
    assert not verify(user.hash, "guess")


async def test_a_pool_is_known_only_while_the_table_lists_it() -> None:
    book, secrets = await logged_in(), await known()
    assert NAME in book
    assert book.update({}, secrets)
    assert NAME not in book
    assert not book.update({}, secrets)


async def test_a_pool_whose_secret_is_not_known_comes_back_later() -> None:
    book = PoolBook()
    for secrets in (
        Known(),
        Known(gone={"news-login"}),
        Known({"news-login": await seal({"password": b"\xff"})}),
    ):
        book.update(NEWS, secrets)
        assert NAME in book
        assert not book.users
        with pytest.raises(UnavailableError):
            book.find(NAME)


async def test_a_new_password_is_taken_and_the_same_one_is_no_change() -> None:
    book, secrets = await logged_in(), await known("other")
    assert book.update(NEWS, secrets)
    assert not book.update(NEWS, secrets)
    assert verify(book.find(NAME).hash, "other")


@pytest.mark.parametrize("entry", [(NAME, b"secret"), ("news", b"secret\nname: pool;news")])
def test_no_user_can_have_the_name_of_a_pool(entry: tuple[str, bytes]) -> None:
    with pytest.raises(EntryError, match="the name"):
        opened(entry[0], sealed(*entry, salt=b"0" * 16))


async def test_where_there_are_no_users_nobody_is_anybody_but_the_pools() -> None:
    everybody = Everybody(UserBook(), await logged_in())
    assert everybody.find("alice") is None
    assert everybody.scram_key("alice") == everybody.scram_key("alice")
    assert list(everybody.users) == [NAME]


async def test_users_and_pools_are_known_together_and_each_waits_for_its_own_secret() -> None:
    users, pools = UserBook(), await logged_in()
    everybody = Everybody(users, pools)
    users.update(SubmissionAuthentication(secret_name="users"), Known())
    with pytest.raises(UnavailableError):
        everybody.find("alice")
    found = everybody.find(NAME)
    assert found
    users.update(
        SubmissionAuthentication(secret_name="users"),
        Known({"users": await users.seal({"alice": b"secret"})}),
    )
    assert sorted(everybody.users) == ["alice", NAME]
    assert everybody.scram_key("alice") != everybody.scram_key(NAME) == found.hash


async def test_who_guesses_behind_the_same_address_or_under_its_name_keeps_no_pool_out() -> None:
    pools = await logged_in()
    judge = Judge(Everybody(UserBook(), pools), Verifier(), exempt=pools.__contains__)
    for number in range(FREE + 5):
        for name in ("alice", NAME):
            await judge.password(Password(name, f"guess {number}"), "192.0.2.1")
    assert await judge.password(Password("alice", "a guess more"), "192.0.2.1") is Verdict.DEFERRED
    assert await judge.password(Password(NAME, CANARY), "192.0.2.1") is Verdict.ACCEPTED
    assert await judge.password(Password(NAME, "a guess more"), "192.0.2.1") is Verdict.REJECTED


def test_pools_change_nothing_for_other_ports_and_clients() -> None:
    without = table(tls=TlsMode.OPTIONAL)
    configuration = render(table(tls=TlsMode.OPTIONAL, pools=("news",)), HOST, Phase.OPEN, chain=CHAIN)
    before = render(without, HOST, Phase.OPEN, chain=CHAIN)
    now, then = parameters(configuration), parameters(before)
    named = {name for name in now if now[name] != then.get(name)}
    assert named == {
        "smtpd_sasl_type", "smtpd_sasl_path", "smtpd_sasl_security_options", "smtpd_sasl_tls_security_options",
        "smtpd_sasl_mechanism_filter", "smtpd_sasl_authenticated_header", "smtpd_restriction_classes",
        "smtpfleet_users",
    }  # fmt: skip
    assert (now["smtpd_sasl_auth_enable"], now["smtpd_sasl_mechanism_filter"]) == ("no", "SCRAM-SHA-256")
    added = set(configuration.master_cf.splitlines()) - set(before.master_cf.splitlines())
    assert "  -o smtpd_sasl_auth_enable=yes" in added
    assert configuration.master_cf.split("2465 inet")[0] == before.master_cf.split("2465 inet")[0]


def test_who_may_log_in_is_what_the_table_names() -> None:
    probed = table(users="users", pools=("news",))
    assert logins(probed.submission, "outbound") == {NAME: "news-login", "probe;outbound": "outbound-probe"}
    assert logins(table(pools=("news",)).submission, "outbound") == NEWS
    assert logins(table().submission, "outbound") == {}


async def test_attempts_of_a_name_that_is_unseen_are_not_counted_whatever_comes_of_them() -> None:
    pools = await logged_in()
    judge = Judge(
        Everybody(UserBook(), pools), Verifier(), exempt=pools.__contains__, unseen=lambda name: name == NAME
    )
    for password in (CANARY, "a guess", "a guess"):
        await judge.password(Password(NAME, password), "192.0.2.1")
    assert judge.counts == {}
    assert not judge.only_guesses("192.0.2.1")
    await judge.password(Password("alice", "a guess"), "192.0.2.1")
    assert judge.counts == {Verdict.REJECTED: 1}


async def test_an_attempt_that_is_right_is_not_slowed_down_by_guesses_before() -> None:
    pools = await logged_in()
    waits_s: list[float] = []

    async def pause(seconds: float) -> None:
        waits_s.append(seconds)

    judge = Judge(Everybody(UserBook(), pools), Verifier(), pause=pause, exempt=pools.__contains__)
    for number in range(FREE + 5):
        await judge.password(Password(NAME, f"guess {number}"), "192.0.2.1")
    waits_s.clear()
    assert await judge.password(Password(NAME, CANARY), "192.0.2.1") is Verdict.ACCEPTED
    assert waits_s == []


@pytest.mark.parametrize("entry", [("probe;outbound", b"secret"), ("a", b"secret\nname: probe;outbound")])
def test_no_user_can_have_the_name_of_probes(entry: tuple[str, bytes]) -> None:
    with pytest.raises(EntryError, match="the name"):
        opened(entry[0], sealed(*entry, salt=b"0" * 16))
