"""Where mail goes, as Secrets come, break and go: it waits, or goes with what was good, and never without."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from smtpfleet.api.agent_status import NextHopProblem, NextHopTrouble
from smtpfleet.api.routing import DeliveryTable, RelayRoute, RoutingTable
from smtpfleet.relay.leftovers import SWEEP_S, UNUSED_S
from smtpfleet.relay.outbound import PATIENCE_S, RETIRED_S, Outbound
from smtpfleet.relay.outcomes import outcome
from smtpfleet.relay.refusals import Refusals
from smtpfleet.relay.ways import Ways, parameters
from tests.unit.relay.goldens import table
from tests.unit.relay.known import Known

RELAY = "outbound-relay-0"
SMARTHOST = {"host": "smtp.provider.example", "tls": "Required", "secretName": "provider"}
OTHER_ACCOUNT = {"senderDomain": "news.example", **SMARTHOST, "secretName": "bulk"}
GOOD = {"username": b"jane", "password": b"one"}
BETTER = {"username": b"jane", "password": b"two"}
REFUSED = (
    "1: to=<a@b.example>, relay=smtp.provider.example[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.7.8,"
    " status=deferred (SASL authentication failed; server smtp.provider.example[192.0.2.1] said: 535 5.7.8 No)"
)


@dataclass
class Stand:
    """A relay's ways, what it knows, and its clock."""

    directory: Path
    known: Known = field(default_factory=Known)
    refusals: Refusals = field(default_factory=Refusals)
    passed_s: float = 100.0

    def __post_init__(self) -> None:
        self.outbound = self.restarted()

    def restarted(self) -> Outbound:
        return Outbound(
            relay=RELAY,
            directory=self.directory,
            secrets=self.known,
            refusals=self.refusals,
            clock=lambda: self.passed_s,
        )

    def ways(self, *, relays: int = 1, **delivery: Any) -> Ways:
        return self.outbound.update(_table(relays, delivery))

    def troubles(self) -> dict[str, NextHopTrouble]:
        status = self.outbound.status()
        assert status is not None
        return {trouble.next_hop: trouble for trouble in status.troubles}

    def logins(self, ways: Ways) -> list[str]:
        """What the services of these ways log in with."""
        return [file.read_text() for file in _options(ways, "smtp_sasl_password_maps=texthash:")]


def _options(ways: Ways, beginning: str) -> Iterator[Path]:
    for service in ways.services:
        for option in service.options:
            if option.startswith(beginning):
                yield Path(option.removeprefix(beginning))


def _table(relays: int, delivery: dict[str, Any]) -> RoutingTable:
    routes = tuple(
        RelayRoute(name=f"outbound-relay-{number}", address="10.96.0.1", weight=100)
        for number in range(relays)
    )
    made = DeliveryTable.model_validate({"queueLifetimeS": 60} | delivery)
    return table().model_copy(update={"delivery": made, "relays": routes})


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path / "delivery")


def test_a_pool_that_says_nothing_delivers_by_mx_and_writes_no_file(stand: Stand) -> None:
    assert stand.ways() == Ways()
    assert stand.troubles() == {}
    assert not stand.directory.exists()


def test_credentials_are_a_file_that_nobody_else_reads(stand: Stand) -> None:
    stand.known.contents["provider"] = GOOD
    ways = stand.ways(smarthost=SMARTHOST)
    assert ways.default.endswith(":[smtp.provider.example]:587")
    assert stand.logins(ways) == ["[smtp.provider.example]:587 jane:one\n"]
    file = next(_options(ways, "smtp_sasl_password_maps=texthash:"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert stand.directory.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("content", "gone", "problem"),
    [
        (None, False, NextHopProblem.UNKNOWN),
        (None, True, NextHopProblem.MISSING),
        ({"username": b"jane"}, False, NextHopProblem.INVALID),
    ],
)
def test_without_good_credentials_mail_waits(
    stand: Stand, content: dict[str, bytes] | None, gone: bool, problem: NextHopProblem
) -> None:
    if content is not None:
        stand.known.contents["provider"] = content
    stand.known.gone = {"provider"} if gone else set()
    ways = stand.ways(smarthost=SMARTHOST)
    assert ways.default.startswith("retry:4.7.8 no mail for smtp.provider.example:587 without credentials")
    assert ways.services == ()
    assert parameters(ways, "")["smtpd_reject_unlisted_recipient"] == "no"  # else smtpd answers 450
    trouble = stand.troubles()["smtp.provider.example:587"]
    assert (trouble.problem, trouble.waiting) == (problem, True)


def test_mail_waits_where_the_operator_says_so_and_goes_when_it_no_longer_does(stand: Stand) -> None:
    stand.known.contents["outbound-login"] = GOOD
    route = {
        "domain": "a.example",
        "host": "bulk.mail.svc",
        "port": 465,
        "tls": "Required",
        "secretName": "outbound-login",
    }
    waiting = stand.ways(routes=[route | {"waits": "there is no pool bulk"}])
    assert waiting.recipients
    assert "/@a\\.example$/ retry:4.3.5 there is no pool bulk\n" in waiting.recipients.read_text()
    assert parameters(waiting, "")["smtpd_reject_unlisted_recipient"] == "no"  # else smtpd answers 450
    going = stand.ways(routes=[route])
    assert going.recipients
    assert going.recipients.read_text().endswith(":[bulk.mail.svc]:465\n")
    assert (going.waiting, going.leads_elsewhere(waiting)) == (False, True)


def test_a_relay_waits_for_the_first_credentials_but_not_for_ever(stand: Stand) -> None:
    stand.ways(smarthost=SMARTHOST)
    assert not stand.outbound.settled
    stand.passed_s += PATIENCE_S + 1
    assert stand.outbound.settled


@pytest.mark.parametrize("bad", [None, {}, {"username": b"jane", "password": b"a\nb"}])
def test_the_last_good_credentials_stay_in_use(stand: Stand, bad: dict[str, bytes] | None) -> None:
    stand.known.contents["provider"] = GOOD
    before = stand.ways(smarthost=SMARTHOST)
    del stand.known.contents["provider"]
    if bad is None:
        stand.known.gone = {"provider"}
    else:
        stand.known.contents["provider"] = bad
    assert stand.ways(smarthost=SMARTHOST) == before
    assert not stand.troubles()["smtp.provider.example:587"].waiting
    stand.known.contents["provider"], stand.known.gone = BETTER, set()
    after = stand.ways(smarthost=SMARTHOST)
    assert stand.logins(after) == ["[smtp.provider.example]:587 jane:two\n"]
    assert after.leads_elsewhere(before)
    assert stand.troubles() == {}


def test_the_last_good_credentials_outlive_the_container(stand: Stand) -> None:
    stand.known.contents["provider"] = GOOD
    before = stand.ways(smarthost=SMARTHOST)
    stand.known.contents.clear()
    stand.outbound = stand.restarted()
    assert stand.ways(smarthost=SMARTHOST) == before
    assert stand.outbound.settled


def test_half_written_credentials_are_none(stand: Stand) -> None:
    stand.known.contents["provider"] = GOOD
    file = next(_options(stand.ways(smarthost=SMARTHOST), "smtp_sasl_password_maps=texthash:"))
    file.parent.rename(file.parent.with_suffix(".new"))
    stand.known.contents.clear()
    stand.outbound = stand.restarted()
    assert stand.ways(smarthost=SMARTHOST).default.startswith("retry:")
    stand.known.contents["provider"] = GOOD
    assert stand.logins(stand.ways(smarthost=SMARTHOST)) == ["[smtp.provider.example]:587 jane:one\n"]


def test_two_accounts_of_one_provider_never_meet(stand: Stand) -> None:
    stand.known.contents |= {"provider": GOOD, "bulk": BETTER}
    ways = stand.ways(smarthost=SMARTHOST, routes=[OTHER_ACCOUNT])
    assert len({service.name for service in ways.services}) == 2
    assert sorted(stand.logins(ways)) == [
        "[smtp.provider.example]:587 jane:one\n",
        "[smtp.provider.example]:587 jane:two\n",
    ]


def test_one_secret_that_is_missing_lets_other_mail_go(stand: Stand) -> None:
    stand.known.contents["provider"] = GOOD
    ways = stand.ways(smarthost=SMARTHOST, routes=[OTHER_ACCOUNT])
    assert ways.default.startswith("smtp-")
    assert ways.senders is not None
    assert "/@news\\.example$/ retry:4.7.8 " in ways.senders.read_text()


def test_a_route_without_host_leads_past_the_smarthost_to_the_mx(stand: Stand) -> None:
    routes = [{"domain": "a.example"}, {"domain": "b.example", "tls": "Required"}]
    ways = stand.ways(smarthost={"host": "smtp.example"}, routes=routes)
    assert ways.recipients is not None
    plain, strict = ways.recipients.read_text().splitlines()[1:]
    assert plain == "/@a\\.example$/ smtp:"
    assert strict.startswith("/@b\\.example$/ smtp-")
    assert strict.endswith(":")


def test_a_service_stays_until_its_deliveries_have_ended_and_then_goes(stand: Stand) -> None:
    before = stand.ways(smarthost={"host": "one.example"})
    after = stand.ways(smarthost={"host": "two.example"})
    assert set(before.services) < set(after.services)
    assert after.leads_elsewhere(before)
    stand.passed_s += RETIRED_S + 1
    later = stand.ways(smarthost={"host": "two.example"})
    assert len(later.services) == 1
    assert not later.leads_elsewhere(after)


def test_files_stay_a_while_after_their_last_use_and_then_go(stand: Stand) -> None:
    stand.known.contents["provider"] = GOOD
    old = next(_options(stand.ways(smarthost=SMARTHOST), "smtp_sasl_password_maps=texthash:"))
    stand.known.contents["provider"] = BETTER
    stand.passed_s += SWEEP_S + 1
    new = next(_options(stand.ways(smarthost=SMARTHOST), "smtp_sasl_password_maps=texthash:"))
    stand.passed_s += UNUSED_S - SWEEP_S - 1
    stand.ways(smarthost=SMARTHOST)
    assert old.exists()
    stand.passed_s += SWEEP_S + 1
    stand.ways(smarthost=SMARTHOST)
    assert not old.exists()
    assert new.exists()


def test_nothing_is_left_of_routes_and_credentials_that_are_gone(stand: Stand) -> None:
    stand.known.contents |= {"provider": GOOD, "bulk": BETTER}
    stand.ways(smarthost=SMARTHOST, routes=[OTHER_ACCOUNT])
    for _ in range(3):
        stand.passed_s += RETIRED_S + 1
        stand.ways()
    assert list(stand.directory.iterdir()) == []


def test_a_server_that_refuses_the_credentials_is_named_until_it_takes_them(stand: Stand) -> None:
    stand.known.contents["provider"] = GOOD
    service = stand.ways(smarthost=SMARTHOST).services[0]
    refused = outcome(f"postfix/{service.name}/smtp", REFUSED)
    assert refused is not None
    stand.refusals.read(f"postfix/{service.name}/smtp", refused)
    trouble = stand.troubles()["smtp.provider.example:587"]
    assert trouble.problem is NextHopProblem.REFUSED
    assert trouble.error == "the server refuses the credentials of Secret provider (535)"
    stand.known.contents["provider"] = BETTER
    stand.ways(smarthost=SMARTHOST)
    assert stand.troubles() == {}


def test_connections_are_this_relays_part_and_of_an_old_table_postfixs_own(stand: Stand) -> None:
    assert stand.ways(relays=3, maxConnectionsPerDestination=20).connections == 7
    assert stand.ways(relays=3).connections == 0


def test_a_changed_share_is_no_reason_to_try_all_mail_again(stand: Stand) -> None:
    before = stand.ways(relays=1, maxConnectionsPerDestination=20)
    assert not stand.ways(relays=2, maxConnectionsPerDestination=20).leads_elsewhere(before)


def test_before_the_first_table_nothing_is_told(stand: Stand) -> None:
    assert stand.outbound.status() is None
    assert stand.outbound.settled
