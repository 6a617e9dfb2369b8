"""What a relay gives its siblings and takes from them, by the newest table and the certificate."""

from pathlib import Path
from typing import Any

import pytest

from smtpfleet.api.agent_status import HandOffStage, HandOffStatus, QueueCounts
from smtpfleet.api.routing import HandOffTable, RelayRoute, RouteState, RoutingTable
from smtpfleet.relay.handedover import HandedOver
from smtpfleet.relay.handoff import CHANCE_S
from smtpfleet.relay.handoffconf import SERVICE
from smtpfleet.relay.keystore import Keystore
from smtpfleet.relay.siblings import LINGER_S, Siblings
from smtpfleet.relay.ways import BY_MX_ALONE
from tests.unit.relay.goldens import table
from tests.unit.relay.known import Known
from tests.unit.relay.pairs import NOW, content, pair

SECRET = "outbound-hand-off"
MAIL = QueueCounts(deferred=3)
GIVER, TAKER, OTHER = (f"outbound-relay-{number}" for number in range(3))


def _table(*takers: str, giver: str = GIVER) -> RoutingTable:
    relays = tuple(
        RelayRoute(
            name=name,
            address=f"10.96.0.{number + 1}",
            weight=0 if name == giver else 100,
            state=RouteState.DRAINING if name == giver else RouteState.SERVING,
            hand_off=name == giver,
        )
        for number, name in enumerate((GIVER, TAKER, OTHER))
    )
    hand_off = HandOffTable(secret_name=SECRET if takers else "", takers=takers)
    return table().model_copy(update={"relays": relays, "hand_off": hand_off})


class Stand:
    """One relay's view, with a clock."""

    def __init__(self, directory: Path, relay: str = GIVER, *, known: bool = True) -> None:
        self.known = Known({SECRET: content(pair("siblings"))} if known else {})
        self.outcomes, self.now_s = HandedOver(), 100.0
        self.siblings = Siblings(
            relay=relay,
            keystore=Keystore(directory, self.known, clock=lambda: self.now_s, now=lambda: NOW),
            outcomes=self.outcomes,
            clock=lambda: self.now_s,
        )

    def look(self, seen: RoutingTable | None, *, after_s: float = 0.0, **more: Any) -> bool:
        self.now_s += after_s
        self.siblings.update(seen)
        return self.siblings.advance(more.get("queue", MAIL), closed=more.get("closed", True))

    @property
    def given_to(self) -> tuple[str, ...]:
        return self.siblings.lead(BY_MX_ALONE).siblings


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_a_relay_that_hands_off_gives_to_all_takers_and_takes_nothing(stand: Stand) -> None:
    stand.look(_table(TAKER, OTHER))
    before = stand.given_to
    assert stand.look(_table(TAKER, OTHER), after_s=CHANCE_S)
    assert (before, stand.given_to) == ((), ("10.96.0.2", "10.96.0.3"))
    assert stand.siblings.door is None
    assert stand.siblings.status() == HandOffStatus(stage=HandOffStage.HANDING_OFF)


def test_it_gives_nothing_before_its_listeners_are_closed(stand: Stand) -> None:
    for _ in range(3):
        stand.look(_table(TAKER), after_s=CHANCE_S, closed=False)
    assert (stand.given_to, stand.siblings.status()) == ((), None)


def test_messages_on_hold_are_nobodys_but_a_persons(stand: Stand) -> None:
    for _ in range(3):
        stand.look(_table(TAKER), after_s=CHANCE_S, queue=QueueCounts(hold=3, corrupt=1))
    assert stand.given_to == ()


def test_the_client_is_there_before_it_is_used_and_after(stand: Stand) -> None:
    """A service that is taken out of master.cf loses its deliveries under way."""
    stand.look(_table(TAKER))
    names = [service.name for service in stand.siblings.lead(BY_MX_ALONE).services]
    assert names == [SERVICE]
    stand.look(_table(TAKER), after_s=CHANCE_S)
    stand.look(_table())
    for later in (_table(), _table(giver=OTHER), None):
        stand.look(later)
        assert [service.name for service in stand.siblings.lead(BY_MX_ALONE).services] == [SERVICE]
        assert stand.given_to == ()


def test_without_takers_it_says_so(stand: Stand) -> None:
    stand.look(_table())
    stand.look(_table(), after_s=CHANCE_S)
    assert stand.siblings.status() == HandOffStatus(stage=HandOffStage.BLOCKED, why="no sibling takes mail")


def test_without_the_certificate_nothing_is_given_or_taken(tmp_path: Path) -> None:
    giver, taker = Stand(tmp_path / "a", known=False), Stand(tmp_path / "b", TAKER, known=False)
    for stand in (giver, taker):
        stand.look(_table(TAKER))
        stand.look(_table(TAKER), after_s=CHANCE_S)
    status = giver.siblings.status()
    assert status is not None
    assert status.why == "the relays' own certificate is not there yet"
    assert (giver.given_to, taker.siblings.door) == ((), None)


def test_a_taker_has_a_door_while_somebody_leaves_and_for_a_while_after(tmp_path: Path) -> None:
    stand = Stand(tmp_path, TAKER)
    stand.look(table())
    assert stand.siblings.door is None
    assert stand.siblings.lead(BY_MX_ALONE) == BY_MX_ALONE
    stand.look(_table(TAKER), closed=False)
    door = stand.siblings.door
    assert door is not None
    assert door.chain.exists()
    stand.look(_table(OTHER), closed=False)
    stand.look(_table(), closed=False, after_s=LINGER_S - 1)
    assert stand.siblings.door == door
    assert stand.given_to == ()
    stand.look(_table(), closed=False, after_s=1)
    assert stand.siblings.door is None


def test_a_taker_that_drains_closes_its_door_at_once(tmp_path: Path) -> None:
    stand = Stand(tmp_path, TAKER)
    stand.look(_table(TAKER), closed=False)
    assert stand.siblings.door is not None
    stand.look(_table(OTHER, giver=TAKER), closed=False)
    assert stand.siblings.door is None


def test_both_show_the_same_certificate(tmp_path: Path) -> None:
    giver, taker = Stand(tmp_path / "a"), Stand(tmp_path / "b", TAKER)
    giver.look(_table(TAKER))
    taker.look(_table(TAKER), closed=False)
    door = taker.siblings.door
    assert door is not None
    options = giver.siblings.lead(BY_MX_ALONE).services[0].options
    assert f"smtp_tls_fingerprint_cert_match={door.print}" in options


def test_a_relay_that_is_wanted_again_keeps_its_mail_and_tries_it_at_once(stand: Stand) -> None:
    stand.look(_table(TAKER))
    stand.look(_table(TAKER), after_s=CHANCE_S)
    assert stand.look(_table(giver=OTHER), closed=False)
    assert (stand.given_to, stand.siblings.status()) == ((), None)


def test_no_table_says_nothing(stand: Stand) -> None:
    assert not stand.look(None)
    assert stand.siblings.door is None
