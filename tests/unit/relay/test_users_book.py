"""Which users a relay knows: entry by entry, and never a password in clear."""

import asyncio
from pathlib import Path

import pytest
import yaml

from smtpfleet.api.agent_status import UsersProblem, UsersStatus
from smtpfleet.api.routing import SubmissionAuthentication
from smtpfleet.relay.users.book import NAMED, PATIENCE_S, Content, UnavailableError, UserBook
from smtpfleet.relay.users.hashes import Bcrypt, ScramKey

WANTED = SubmissionAuthentication(secret_name="users")
BCRYPT = b"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"


class Stand:
    """A book, what is known of its Secret, and a clock."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.content: Content | None = None
        self.gone = False
        self.book = UserBook(clock=lambda: self.passed_s)

    def get(self, name: str) -> Content | None:
        return self.content if name == WANTED.secret_name else None

    def missing(self, name: str) -> bool:
        return self.gone

    def error(self, name: str) -> str:
        return f"Secret mail/{name} is missing" if self.gone else f"Secret mail/{name}: no answer yet"

    def store(self, **entries: bytes) -> bool:
        self.content = asyncio.run(self.book.seal(entries))
        return self.book.update(WANTED, self)

    @property
    def status(self) -> UsersStatus:
        found = self.book.status()
        assert found is not None
        return found

    def name_of(self, name: str) -> str | None:
        user = self.book.find(name)
        return user.name if user else None


@pytest.fixture
def stand() -> Stand:
    return Stand()


def test_users_are_known_by_name(stand: Stand) -> None:
    assert stand.store(alice=b"secret", second=b"secret\nname: bob@example.com")
    assert (stand.name_of("alice"), stand.name_of("bob@example.com")) == ("alice", "bob@example.com")
    assert (stand.name_of("second"), stand.name_of("nobody")) == (None, None)
    assert stand.status == UsersStatus(secret="users", users=2)


def test_an_unchanged_secret_is_no_change(stand: Stand) -> None:
    stand.store(alice=b"secret")
    assert not stand.book.update(WANTED, stand)


def test_no_password_is_kept_in_clear(stand: Stand) -> None:
    stand.store(alice=b"canary-one", bob=b" canary-two", carol=b"canary-three\nwrong")
    assert b"canary" not in b"".join((stand.content or {}).values())


def test_an_entry_that_did_not_change_keeps_what_was_made_of_it(stand: Stand) -> None:
    stand.store(alice=b"secret", bob=b"secret")
    before = dict(stand.content or {})
    stand.store(alice=b"secret", bob=b"other")
    assert stand.content is not None
    assert stand.content["alice"] == before["alice"]
    assert stand.content["bob"] != before["bob"]


def test_an_entry_that_cannot_be_read_is_refused_by_itself(stand: Stand) -> None:
    stand.store(alice=b"secret", broken=b"$6$salt$hash")
    assert stand.name_of("alice") == "alice"
    with pytest.raises(UnavailableError):
        stand.book.find("broken")
    assert [entry.key for entry in stand.status.refused] == ["broken"]
    assert (stand.status.users, stand.status.refused_total) == (1, 1)


def test_the_status_names_only_so_many(stand: Stand) -> None:
    stand.store(**{f"broken-{number}": b"" for number in range(NAMED + 5)})
    assert (len(stand.status.refused), stand.status.refused_total) == (NAMED, NAMED + 5)


def test_of_two_entries_with_one_name_that_whose_key_it_is_stays(stand: Stand) -> None:
    stand.store(aaa=b"secret\nname: bob", bob=BCRYPT, ccc=b"secret\nname: bob")
    user = stand.book.find("bob")
    assert user is not None
    assert isinstance(user.hash, Bcrypt)
    assert {entry.key: entry.reason for entry in stand.status.refused} == dict.fromkeys(
        ("aaa", "ccc"), "its name is that of the entry bob"
    )


def test_without_the_secret_nobody_is_known_and_with_it_again_everybody_is(stand: Stand) -> None:
    stand.store(alice=b"secret")
    content, stand.content, stand.gone = stand.content, None, True
    assert stand.book.update(WANTED, stand)
    with pytest.raises(UnavailableError):
        stand.book.find("alice")
    assert (stand.status.problem, stand.status.error) == (
        UsersProblem.MISSING,
        "Secret mail/users is missing",
    )
    stand.content, stand.gone = content, False
    stand.book.update(WANTED, stand)
    assert (stand.name_of("alice"), stand.status.problem) == ("alice", UsersProblem.NONE)


def test_an_empty_secret_has_no_user(stand: Stand) -> None:
    stand.store()
    assert stand.name_of("alice") is None
    assert stand.status.problem is UsersProblem.EMPTY


def test_another_secret_is_another_book(stand: Stand) -> None:
    stand.store(alice=b"secret")
    stand.book.update(SubmissionAuthentication(secret_name="other"), stand)
    with pytest.raises(UnavailableError):
        stand.book.find("alice")
    assert stand.status.problem is UsersProblem.UNKNOWN


def test_a_start_waits_for_the_users_but_not_for_ever(stand: Stand) -> None:
    stand.book.update(WANTED, stand)
    assert not stand.book.settled
    stand.passed_s = PATIENCE_S + 0.1
    assert stand.book.settled


def test_a_start_does_not_wait_for_a_secret_that_is_missing_or_not_named(stand: Stand) -> None:
    stand.book.update(SubmissionAuthentication(), stand)
    assert (stand.book.settled, stand.book.status(), stand.book.enabled) == (True, None, False)
    stand.gone = True
    stand.book.update(WANTED, stand)
    assert stand.book.settled


@pytest.mark.parametrize(
    ("entries", "scram"),
    [
        ({"alice": b"secret"}, True),
        ({"alice": b"secret", "bob": BCRYPT}, False),
        ({"alice": b"secret", "bob": b"$6$a$b"}, True),
        ({}, False),
    ],
)
def test_scram_is_offered_only_where_every_user_can(stand: Stand, entries: Content, scram: bool) -> None:
    stand.store(**entries)
    assert stand.book.scram is scram


def test_who_does_not_exist_costs_what_users_cost(stand: Stand) -> None:
    stand.store(alice=b"secret", bob=BCRYPT)
    drawn = {type(stand.book.decoy(f"nobody-{number}")) for number in range(50)}
    assert drawn == {ScramKey, Bcrypt}
    assert stand.book.decoy("nobody") == stand.book.decoy("nobody")


def test_keys_of_who_has_none_are_of_one_form(stand: Stand) -> None:
    stand.store(alice=b"secret", bob=BCRYPT)
    keys = [stand.book.scram_key(name) for name in ("alice", "bob", "nobody")]
    assert {(key.iterations, len(key.salt)) for key in keys} == {(4096, 16)}
    assert len({key.salt for key in keys}) == 3


def test_the_secret_that_the_documentation_shows_has_these_users(stand: Stand) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "users.md").read_text()
    secret = next(yaml.safe_load_all(page.split("```yaml\n")[1].split("```")[0]))
    stand.store(**{key: value.encode() for key, value in secret["stringData"].items()})
    assert stand.status.refused == ()
    assert set(stand.book.users) == {"printer", "shop", "newsletter@example.com"}
    newsletter = stand.book.users["newsletter@example.com"]
    assert newsletter.messages_per_minute == 600
    assert newsletter.may_send_as("any@lists.example.com")
