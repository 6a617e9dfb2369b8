"""DKIM at a relay: the last good key stays, signers follow the list, and nothing an open session needs goes early."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from smtpfleet.api.agent_status import SigningProblem
from smtpfleet.api.dkim import KeyAlgorithm
from smtpfleet.api.routing import SigningRoute
from smtpfleet.controller.dkimkeys import current_key
from smtpfleet.relay.children import Children
from smtpfleet.relay.signing import KEPT_S, PATIENCE_S, Signing
from tests.unit.relay.known import Known

RSA, RSA_2, ED = (
    {"tls.key": current_key(None, algorithm=algorithm)}
    for algorithm in (KeyAlgorithm.RSA, KeyAlgorithm.RSA, KeyAlgorithm.ED25519)
)
S1 = SigningRoute(domain="a.example", selector="s1", secret_name="one")
S2 = SigningRoute(domain="a.example", selector="s2", secret_name="two")


@dataclass
class FakeSigner:
    """A signer that answers when the test says so."""

    configuration: Path
    socket: Path
    answers: bool = False
    answered_ever: bool = False
    reloads: int = 0

    async def run(self) -> None:
        await asyncio.Event().wait()

    def reload(self) -> None:
        self.reloads += 1

    def comes_up(self) -> None:
        self.answers = self.answered_ever = True


@dataclass
class Stand:
    """A relay's signing with what it knows, its signers and its clock."""

    directory: Path
    known: Known = field(default_factory=Known)
    signers: dict[str, FakeSigner] = field(default_factory=dict)
    passed_s: float = 0.0

    def __post_init__(self) -> None:
        self.signing = Signing(
            self.directory / "dkim", self.known, children=Children(), output=-1, changed=lambda: None,
            owner=lambda: (os.getuid(), os.getgid()), start=self._start, clock=lambda: self.passed_s,
        )  # fmt: skip

    def _start(self, configuration: Path, socket: Path) -> FakeSigner:
        return self.signers.setdefault(socket.stem, FakeSigner(configuration, socket))

    def file(self, name: str) -> str:
        return (self.directory / "dkim" / name).read_text()

    def told(self) -> list[tuple[str, bool, SigningProblem]]:
        status = self.signing.status()
        assert status is not None
        return [(key.selector, key.signs, key.problem) for key in status.keys]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def test_a_pool_without_keys_runs_no_signer(stand: Stand) -> None:
    await stand.signing.update([])
    assert stand.signing.settled
    assert (stand.signing.status(), stand.signing.milters(), stand.signers) == (None, (), {})


async def test_postfix_waits_for_key_and_signer_and_hears_of_it_when_it_answers(stand: Stand) -> None:
    await stand.signing.update([S1])
    assert not stand.signing.settled
    stand.known.contents["one"] = RSA
    await stand.signing.update([S1])
    assert not stand.signing.settled
    assert stand.signing.milters() == ()
    stand.signers["rsa"].comes_up()
    assert stand.signing.settled
    assert stand.signing.milters() == (f"unix:{stand.directory}/dkim/rsa.sock",)
    assert stand.told() == [("s1", True, SigningProblem.NONE)]


async def test_a_signer_that_never_answers_is_named_all_the_same_and_mail_is_refused(stand: Stand) -> None:
    stand.known.contents["one"] = RSA
    await stand.signing.update([S1])
    stand.passed_s = PATIENCE_S + 1
    assert stand.signing.settled
    assert len(stand.signing.milters()) == 1
    assert "does not answer" in stand.signing.trouble


async def test_a_signer_that_dies_stays_named_so_that_nothing_leaves_unsigned(stand: Stand) -> None:
    stand.known.contents["one"] = RSA
    await stand.signing.update([S1])
    stand.signers["rsa"].comes_up()
    before = stand.signing.milters()
    stand.signers["rsa"].answers = False
    assert stand.signing.milters() == before
    assert stand.signing.trouble


async def test_the_last_good_key_stays_in_use(stand: Stand) -> None:
    stand.known.contents["one"] = RSA
    await stand.signing.update([S1])
    good = stand.file("keys/s1._domainkey.a.example")
    stand.known.contents["one"] = {"tls.key": b"nonsense"}
    await stand.signing.update([S1])
    assert stand.told() == [("s1", True, SigningProblem.INVALID)]
    del stand.known.contents["one"]
    stand.known.gone.add("one")
    await stand.signing.update([S1])
    assert stand.told() == [("s1", True, SigningProblem.MISSING)]
    assert stand.file("keys/s1._domainkey.a.example") == good


async def test_a_domain_without_a_key_is_refused_alone(stand: Stand) -> None:
    stand.known.contents["one"] = RSA
    stand.known.gone.add("two")
    other = SigningRoute(domain="b.example", selector="s1", secret_name="two")
    await stand.signing.update([S1, other])
    assert stand.file("rsa.signing") == "*@a.example s1._domainkey.a.example\n*@b.example absent\n"
    stand.signers["rsa"].comes_up()
    assert not stand.signing.trouble


async def test_the_order_of_the_list_rotates_by_a_reload(stand: Stand) -> None:
    stand.known.contents |= {"one": RSA, "two": RSA_2}
    await stand.signing.update([S1, S2])
    assert stand.told() == [("s1", True, SigningProblem.NONE), ("s2", False, SigningProblem.NONE)]
    await stand.signing.update([S2, S1])
    assert stand.told() == [("s2", True, SigningProblem.NONE), ("s1", False, SigningProblem.NONE)]
    assert stand.file("rsa.signing") == "*@a.example s2._domainkey.a.example\n"
    assert stand.signers["rsa"].reloads == 1


async def test_nothing_is_done_while_nothing_changes(stand: Stand) -> None:
    stand.known.contents["one"] = RSA
    await stand.signing.update([S1])
    await stand.signing.update([S1])
    assert stand.signers["rsa"].reloads == 0


async def test_an_exchanged_key_is_there_for_open_sessions_too(stand: Stand) -> None:
    stand.known.contents["one"] = RSA
    await stand.signing.update([S1])
    before = stand.file("keys/s1._domainkey.a.example")
    stand.known.contents["one"] = RSA_2
    await stand.signing.update([S1])
    assert stand.file("keys/s1._domainkey.a.example") != before
    assert stand.signers["rsa"].reloads == 0


async def test_an_ed25519_key_gets_a_signer_of_its_own(stand: Stand) -> None:
    stand.known.contents |= {"one": RSA, "two": ED}
    await stand.signing.update([S1, S2])
    assert set(stand.signers) == {"rsa", "ed25519"}
    for signer in stand.signers.values():
        signer.comes_up()
    assert len(stand.signing.milters()) == 2
    await stand.signing.update([S1])
    assert len(stand.signing.milters()) == 1


async def test_what_an_open_session_may_need_is_kept_for_an_hour(stand: Stand) -> None:
    stand.known.contents |= {"one": RSA, "two": RSA_2}
    await stand.signing.update([S1, S2])
    await stand.signing.update([S2])
    gone = stand.directory / "dkim/keys/s1._domainkey.a.example"
    stand.passed_s = KEPT_S
    await stand.signing.update([S2])
    assert gone.exists()
    stand.passed_s = KEPT_S + 1
    await stand.signing.update([S2])
    assert not gone.exists()


async def test_files_are_closed_to_others(stand: Stand) -> None:
    stand.known.contents["one"] = RSA
    await stand.signing.update([S1])
    files = [path for path in (stand.directory / "dkim").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o400}
    assert (stand.directory / "dkim/keys").stat().st_mode & 0o777 == 0o700
