"""What the probes' user may do at a relay: come as far as RCPT for one recipient, and hand in nothing."""

from smtpfleet.api.postfix_parameters import is_owned
from smtpfleet.api.routing import RoutingTable
from smtpfleet.api.submission import TlsMode
from smtpfleet.relay.mainconf import Phase, render
from tests.unit.relay.goldens import CHAIN, HOST, parameters, table

PROBED = table(tls=TlsMode.OPTIONAL, users="users")


def rendered(of: RoutingTable) -> dict[str, str]:
    return parameters(render(of, HOST, Phase.OPEN, chain=CHAIN))


def asked(of: RoutingTable, name: str) -> list[str]:
    return rendered(of)[name].split(", ")


def test_trusted_networks_come_first_then_the_probes_class_then_users() -> None:
    assert asked(PROBED, "smtpd_relay_restrictions")[1:] == [
        "permit_mynetworks",
        "check_sasl_access inline:{probe;outbound=smtpfleet_probes}",
        "permit_sasl_authenticated",
        "reject",
    ]


def test_the_class_lets_through_one_recipient() -> None:
    assert "smtpfleet_probes" in asked(PROBED, "smtpd_restriction_classes")
    assert rendered(PROBED)["smtpfleet_probes"] == (
        "check_recipient_access inline:{probe@smtpfleet.invalid=permit}, reject"
    )
    assert is_owned("smtpfleet_probes")


def test_content_is_refused_for_neither_postmaster_nor_that_recipient_is_asked_of_the_class_again() -> None:
    assert asked(PROBED, "smtpd_data_restrictions") == [
        "permit_mynetworks",
        "check_sasl_access inline:{probe;outbound=reject}",
        "permit_sasl_authenticated",
        "reject",
    ]


def test_without_users_or_without_their_secret_there_is_nothing_of_it() -> None:
    nameless = PROBED.submission.model_copy(update={"probe_secret_name": ""})
    stray = table(tls=TlsMode.OPTIONAL).submission.model_copy(update={"probe_secret_name": "outbound-probe"})
    for of in (
        table(tls=TlsMode.OPTIONAL),
        table(tls=TlsMode.OPTIONAL, pools=("news",)),
        PROBED.model_copy(update={"submission": nameless}),
        table(tls=TlsMode.OPTIONAL).model_copy(update={"submission": stray}),
    ):
        configuration = render(of, HOST, Phase.OPEN, chain=CHAIN)
        assert "smtpfleet_probes" not in configuration.main_cf + configuration.master_cf
        assert "probe;" not in configuration.main_cf + configuration.master_cf
