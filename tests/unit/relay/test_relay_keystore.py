"""Which certificate is served: the newest that works, and the last good one until then."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from smtpfleet.api.agent_status import CertificateProblem
from smtpfleet.api.routing import SubmissionTls
from smtpfleet.api.submission import TlsMode
from smtpfleet.relay.keystore import PATIENCE_S, RETRY_S, Keystore
from smtpfleet.relay.leftovers import SWEEP_S, UNUSED_S
from tests.unit.relay.known import Known
from tests.unit.relay.pairs import NOW, Content, content, pair

ONE, TWO, THREE = (content(pair(name)) for name in ("one.example", "two.example", "three.example"))
OLD = content(pair(begin=NOW - timedelta(days=366)))
EARLY = content(pair(begin=NOW + timedelta(days=1)))
OPTIONAL = SubmissionTls(mode=TlsMode.OPTIONAL, secret_name="cert")
NONE = SubmissionTls(mode=TlsMode.NONE)
BAD: dict[str, tuple[Content, CertificateProblem]] = {
    "wrong key": (ONE | {"tls.key": TWO["tls.key"]}, CertificateProblem.INVALID),
    "no key": ({"tls.crt": ONE["tls.crt"]}, CertificateProblem.INVALID),
    "empty": ({}, CertificateProblem.INVALID),
    "expired": (OLD, CertificateProblem.EXPIRED),
    "not yet valid": (EARLY, CertificateProblem.INVALID),
}


@dataclass
class Stand:
    """A keystore, what it knows, and its clocks."""

    directory: Path
    known: Known = field(default_factory=Known)
    passed_s: float = 0.0
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.store = self.restarted()

    def restarted(self) -> Keystore:
        return Keystore(self.directory, self.known, clock=lambda: self.passed_s, now=lambda: self.now)

    def serve(self, given: Content | None = None, tls: SubmissionTls = OPTIONAL) -> bytes | None:
        """What is served after the Secret became ``given``."""
        if given is not None:
            self.known.contents[tls.secret_name] = given
        file = self.store.update(tls)
        return file.read_bytes() if file else None

    @property
    def problem(self) -> CertificateProblem:
        status = self.store.status()
        assert status is not None
        return status.problem


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path / "tls")


def _has(served: bytes | None, given: Content) -> bool:
    return served is not None and given["tls.crt"].strip() in served


def test_a_good_pair_is_served_from_a_file_that_only_root_reads(stand: Stand) -> None:
    assert _has(stand.serve(ONE), ONE)
    assert [oct(file.stat().st_mode & 0o777) for file in stand.directory.iterdir()] == ["0o600"]
    status = stand.store.status()
    assert status is not None
    assert (status.secret, status.not_after, status.problem) == (
        "cert",
        NOW + timedelta(days=365),
        CertificateProblem.NONE,
    )
    assert len(status.fingerprint) == 64


def test_another_pair_has_another_file_and_those_before_stay_for_who_may_still_open_them(
    stand: Stand,
) -> None:
    """Postfix may run with the first for some seconds more, while its reload is put off."""
    files = [stand.store.update(OPTIONAL) for _ in map(stand.serve, (ONE, TWO, THREE))]
    assert len(set(files)) == 3
    assert set(stand.directory.iterdir()) == set(files)
    stand.passed_s = UNUSED_S
    stand.serve()
    assert set(stand.directory.iterdir()) == set(files)
    stand.passed_s += SWEEP_S
    stand.serve()
    assert set(stand.directory.iterdir()) == {files[-1]}


def test_a_file_that_was_in_use_again_stays_as_long_again(stand: Stand) -> None:
    old = stand.store.update(OPTIONAL) if stand.serve(ONE) else None
    stand.serve(TWO)
    stand.passed_s = UNUSED_S - 1
    stand.serve(ONE)
    stand.passed_s = UNUSED_S + SWEEP_S
    stand.serve(TWO)
    assert old in set(stand.directory.iterdir())


@pytest.mark.parametrize("name", BAD)
def test_the_last_good_one_stays_when_the_secret_goes_bad_and_the_reason_is_told(
    stand: Stand, name: str
) -> None:
    bad, problem = BAD[name]
    stand.serve(TWO)
    assert _has(stand.serve(bad), TWO)
    assert stand.problem is problem
    assert _has(stand.serve(THREE), THREE)
    assert stand.problem is CertificateProblem.NONE


@pytest.mark.parametrize("name", BAD)
def test_without_a_good_one_ever_nothing_is_served(stand: Stand, name: str) -> None:
    bad, problem = BAD[name]
    assert stand.serve(bad) is None
    assert (stand.problem, stand.store.settled) == (problem, True)


def test_a_bad_pair_leaves_no_file(stand: Stand) -> None:
    stand.serve(BAD["wrong key"][0])
    assert list(stand.directory.iterdir()) == []


def test_a_secret_that_is_deleted_leaves_the_last_good_one(stand: Stand) -> None:
    stand.serve(ONE)
    stand.known.contents.clear()
    stand.known.gone.add("cert")
    assert _has(stand.serve(), ONE)
    assert stand.problem is CertificateProblem.MISSING


def test_another_name_is_served_once_it_is_known(stand: Stand) -> None:
    stand.serve(ONE)
    other = SubmissionTls(mode=TlsMode.REQUIRED, secret_name="other")
    assert _has(stand.serve(tls=other), ONE)
    assert _has(stand.serve(TWO, tls=other), TWO)


def test_a_restarted_container_serves_the_last_good_one_at_once(stand: Stand) -> None:
    stand.serve(ONE)
    stand.known.contents.clear()
    stand.store = stand.restarted()
    assert _has(stand.serve(), ONE)
    assert stand.store.settled


def test_a_start_waits_for_the_first_answer_but_not_for_ever(stand: Stand) -> None:
    assert stand.serve() is None
    assert not stand.store.settled
    stand.passed_s = PATIENCE_S + 0.1
    assert stand.store.settled
    assert stand.problem is CertificateProblem.UNKNOWN


def test_a_start_does_not_wait_for_a_secret_that_is_missing(stand: Stand) -> None:
    stand.known.gone.add("cert")
    stand.serve()
    assert stand.store.settled


def test_a_pair_that_is_not_valid_yet_is_served_when_it_is(stand: Stand) -> None:
    stand.serve(EARLY)
    stand.now += timedelta(days=2)
    assert stand.serve() is None
    stand.passed_s = RETRY_S
    assert _has(stand.serve(), EARLY)
    assert stand.problem is CertificateProblem.NONE


def test_a_certificate_that_runs_out_stays_in_use_and_says_so(stand: Stand) -> None:
    stand.serve(ONE)
    stand.now += timedelta(days=366)
    assert _has(stand.serve(), ONE)
    assert stand.problem is CertificateProblem.EXPIRED


def test_without_tls_nothing_is_served_or_told(stand: Stand) -> None:
    stand.serve(ONE)
    assert stand.serve(tls=NONE) is None
    assert (stand.store.status(), stand.store.settled) == (None, True)
    assert _has(stand.serve(tls=OPTIONAL), ONE)


def test_a_full_disk_is_a_problem_and_no_end(stand: Stand) -> None:
    stand.directory.parent.chmod(0o755)
    stand.directory.write_text("a file where the directory should be")
    assert stand.serve(ONE) is None
    assert stand.problem is CertificateProblem.INVALID
