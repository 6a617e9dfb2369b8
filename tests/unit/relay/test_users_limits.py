"""What users may send, and how Postfix is told to ask about it."""

import asyncio

import pytest

from smtpfleet.api.postfix_parameters import is_owned
from smtpfleet.api.routing import RelayRoute, RouteState, RoutingTable, SubmissionAuthentication
from smtpfleet.api.submission import TlsMode
from smtpfleet.relay import canaryconf
from smtpfleet.relay.mainconf import Phase, owned, render
from smtpfleet.relay.policy import GO_ON
from smtpfleet.relay.settings import Paths
from smtpfleet.relay.tlsconf import CLIENT_PORTS
from smtpfleet.relay.users import conf
from smtpfleet.relay.users.book import UserBook
from smtpfleet.relay.users.door import SHUT, Door
from smtpfleet.relay.users.limits import (
    GONE,
    NOT_THEIRS,
    TOO_MANY,
    UNKNOWN,
    Limits,
    relays_that_take_mail,
)
from tests.unit.relay.goldens import CHAIN, CONFIGURATIONS, HOST, parameters, table

ENTRIES = {
    "alice": b"secret\nsenders: alice@example.com",
    "bob": b"secret\nmessagesPerMinute: 6",
    "carol": b"secret",
    "dave": b"secret\nmessagesPerMinute: 1",
}


def routes(*states: RouteState) -> RoutingTable:
    relays = tuple(
        RelayRoute(
            name=f"outbound-relay-{number}",
            address="10.96.0.1",
            weight=0 if state is RouteState.DRAINING else 100,
            state=state,
        )
        for number, state in enumerate(states)
    )
    return table().model_copy(update={"relays": relays})


class Stand:
    """Limits with a clock and a table."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.table: RoutingTable | None = routes(RouteState.SERVING)
        self.content = asyncio.run(UserBook().seal(ENTRIES))
        self.gone = False
        self.book = UserBook()
        self.look()
        self.limits = Limits(self.book, lambda: self.table, clock=lambda: self.now_s)

    def look(self) -> None:
        self.book.update(SubmissionAuthentication(secret_name="users"), self)

    def get(self, name: str) -> dict[str, bytes] | None:
        return None if self.gone else dict(self.content)

    def missing(self, name: str) -> bool:
        return self.gone

    def error(self, name: str) -> str:
        return ""

    def sent(self, name: str, number: int) -> int:
        """How many of so many messages go."""
        return sum(self.limits.decide(name, "any@example.com") == GO_ON for _ in range(number))


@pytest.fixture
def stand() -> Stand:
    return Stand()


def test_a_sender_that_is_not_listed_is_refused_for_good(stand: Stand) -> None:
    assert stand.limits.decide("alice", "Alice@example.com") == GO_ON
    assert stand.limits.decide("alice", "bob@example.com") == NOT_THEIRS
    assert stand.limits.decide("alice", "") == NOT_THEIRS
    assert NOT_THEIRS.startswith("553 5.7.1 ")


def test_without_limits_everything_goes(stand: Stand) -> None:
    assert stand.sent("carol", 1000) == 1000


def test_messages_per_minute_are_a_bucket_that_fills_again(stand: Stand) -> None:
    assert stand.sent("bob", 10) == 6
    assert stand.limits.decide("bob", "") == TOO_MANY
    assert TOO_MANY.startswith("450 4.7.1 ")
    stand.now_s = 10.0
    assert stand.sent("bob", 10) == 1
    stand.now_s = 3600.0
    assert stand.sent("bob", 10) == 6


def test_a_limit_is_divided_among_the_relays_that_take_mail(stand: Stand) -> None:
    stand.table = routes(RouteState.SERVING, RouteState.SERVING, RouteState.DRAINING)
    assert stand.sent("bob", 10) == 3


def test_every_relay_lets_at_least_one_message_go(stand: Stand) -> None:
    stand.table = routes(*[RouteState.SERVING] * 4)
    assert stand.sent("dave", 10) == 1
    stand.now_s = 239.0
    assert stand.sent("dave", 10) == 0
    stand.now_s = 241.0
    assert stand.sent("dave", 10) == 1


def test_a_relay_without_a_table_has_the_whole_limit() -> None:
    assert relays_that_take_mail(None) == 1
    assert relays_that_take_mail(routes(RouteState.DRAINING)) == 1


def test_a_message_that_is_refused_for_its_sender_is_not_counted(stand: Stand) -> None:
    content = dict(stand.content)
    sealed = asyncio.run(UserBook().seal({"eve": b"secret\nsenders: eve@example.com\nmessagesPerMinute: 2"}))
    stand.content = content | dict(sealed)
    stand.look()
    for _ in range(10):
        stand.limits.decide("eve", "other@example.com")
    assert stand.limits.decide("eve", "eve@example.com") == GO_ON


def test_the_session_of_a_user_who_is_no_longer_one_ends(stand: Stand) -> None:
    assert stand.limits.decide("nobody", "any@example.com") == GONE
    assert GONE.startswith("421 4.7.0 ")


def test_while_the_users_are_not_known_nobody_sends(stand: Stand) -> None:
    stand.gone = True
    stand.look()
    assert stand.limits.decide("carol", "any@example.com") == UNKNOWN
    assert UNKNOWN.startswith("450 4.7.1 ")


def test_an_allowance_goes_with_its_user(stand: Stand) -> None:
    stand.sent("bob", 6)
    stand.limits.keep()
    assert stand.sent("bob", 1) == 0


def test_a_request_of_smtpd_is_read(stand: Stand) -> None:
    request = b"request=smtpd_access_policy\nprotocol_state=MAIL\nsender=x@example.com\nsasl_username=alice\n"
    assert stand.limits.answer(request) == NOT_THEIRS
    assert stand.limits.answer(b"request=smtpd_access_policy\nsender=x@example.com") == GONE


def test_without_users_nothing_of_sasl_is_on_and_nobody_who_logs_in_may_relay() -> None:
    rendered = parameters(render(table(tls=TlsMode.OPTIONAL), HOST, Phase.OPEN, chain=CHAIN))
    assert {name: value for name, value in rendered.items() if name.startswith("smtpd_sasl")} == {
        "smtpd_sasl_auth_enable": "no"
    }
    assert "sasl" not in rendered["smtpd_relay_restrictions"] + rendered["smtpd_sender_restrictions"]


@pytest.mark.parametrize("mode", [TlsMode.OPTIONAL, TlsMode.REQUIRED])
def test_with_users_port_587_is_never_without_tls_whatever_the_mode(mode: TlsMode) -> None:
    rendered = render(table(tls=mode, users="users"), HOST, Phase.OPEN, chain=CHAIN)
    service = rendered.master_cf.split("\n2587 ")[1].split("\n2465 ")[0]
    assert "-o smtpd_tls_security_level=encrypt" in service
    assert parameters(rendered)["smtpd_tls_auth_only"] == "yes"
    lacking = parameters(render(table(tls=mode, users="users"), HOST, Phase.OPEN))
    closed = {f"{port}.inet" for port in CLIENT_PORTS[1:]}
    assert set(lacking["master_service_disable"].split()) == closed


def test_users_alone_may_relay_besides_trusted_networks() -> None:
    rendered = parameters(CONFIGURATIONS["users"]())
    assert rendered["smtpd_relay_restrictions"] == (
        f"{canaryconf.RESTRICTION}, permit_mynetworks, check_sasl_access inline:{{probe;outbound=smtpfleet_probes}},"
        " permit_sasl_authenticated, reject"
    )


def test_mail_of_users_waits_for_the_agents_consent_and_other_mail_does_not() -> None:
    rendered = parameters(CONFIGURATIONS["users"]())
    assert rendered["smtpd_sender_restrictions"].endswith(", check_sasl_access static:smtpfleet_users")
    assert "default_action=DUNNO" in rendered["smtpd_sender_restrictions"]
    assert "{ default_action = 450 4.7.1 " in rendered["smtpfleet_users"]
    assert is_owned("smtpfleet_users")


@pytest.mark.parametrize("scram", [True, False])
def test_scram_is_offered_when_it_may_be(scram: bool) -> None:
    offered = conf.parameters(Paths(), users=True, scram=scram)["smtpd_sasl_mechanism_filter"]
    assert offered == "PLAIN, LOGIN" + (", SCRAM-SHA-256" if scram else "")


def test_who_only_guesses_is_turned_away_unless_trusted(stand: Stand) -> None:
    door = Door(lambda: stand.table, lambda address: not address.endswith(".7"))
    asked = "request=smtpd_access_policy\nprotocol_state=CONNECT\nclient_address={}\n"
    answers = {
        address: door.answer(asked.format(address).encode())
        for address in ("192.0.2.1", "192.0.2.7", "10.1.2.3", "unknown", "2001:db8::1")
    }
    assert answers == {
        "192.0.2.1": SHUT,
        "192.0.2.7": GO_ON,
        "10.1.2.3": GO_ON,
        "unknown": SHUT,
        "2001:db8::1": SHUT,
    }
    stand.table = None
    assert door.answer(asked.format("192.0.2.1").encode()) == GO_ON


def test_the_question_at_the_door_stands_before_the_users_own_and_lets_in_when_it_fails() -> None:
    own = {"smtpd_client_restrictions": "check_client_access cidr:/etc/postfix/clients"}
    asking = parameters(render(table(tls=TlsMode.OPTIONAL, users="users", postfix=own), HOST, Phase.OPEN))
    door, _, rest = asking["smtpd_client_restrictions"].partition("}, ")
    assert "door.sock" in door
    assert "default_action=DUNNO" in door
    assert rest == own["smtpd_client_restrictions"]
    without = parameters(render(table(postfix=own), HOST, Phase.OPEN))
    assert without["smtpd_client_restrictions"] == own["smtpd_client_restrictions"]


def test_the_check_port_and_a_rehearsal_ask_nobody_for_a_password() -> None:
    service = CONFIGURATIONS["users"]().master_cf.split("\n10026 ")[1].split("\npickup")[0]
    assert "-o smtpd_sasl_auth_enable=no\n" in service
    assert parameters(CONFIGURATIONS["rehearsal"]())["smtpd_sasl_auth_enable"] == "no"


def test_everything_about_users_is_the_operators_own() -> None:
    names = owned(table(tls=TlsMode.OPTIONAL, users="users"), HOST, Phase.OPEN, chain=CHAIN)
    assert [name for name in names if not is_owned(name)] == []
