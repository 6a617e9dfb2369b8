"""Postfix's configuration: golden files for its form, sentences for what must be true of any of them."""

import itertools
import re
from pathlib import Path

import pytest

from smtpfleet.api.names import HAND_OFF_PORT
from smtpfleet.api.postfix_parameters import is_owned
from smtpfleet.api.submission import TlsMode
from smtpfleet.relay import canaryconf
from smtpfleet.relay.mainconf import Phase, overridable, owned, render, render_rehearsal
from smtpfleet.relay.services import DELIVERY_SERVICES, internal_services
from smtpfleet.relay.tlsconf import CLIENT_PORTS
from tests.unit.relay.goldens import (
    CHAIN,
    CONFIGURATIONS,
    FILES,
    HOST,
    IDENTITY,
    WAYS,
    parameters,
    table,
    texts,
)

PHASES = list(Phase)


@pytest.mark.parametrize("name", texts())
def test_the_file_is_as_its_golden_file(name: str) -> None:
    assert texts()[name] == (FILES / name).read_text()


def test_there_is_no_golden_file_without_a_configuration() -> None:
    assert {path.name for path in FILES.iterdir()} == set(texts())


@pytest.mark.parametrize("phase", PHASES)
def test_what_decides_who_may_relay_cannot_be_set_by_users(phase: Phase) -> None:
    assert [name for name in owned(table(), HOST, phase) if not is_owned(name)] == []


def test_defaults_that_users_may_change_are_not_the_operators_own() -> None:
    assert [name for name in overridable(table()) if is_owned(name)] == []


def test_a_users_parameter_replaces_a_default() -> None:
    rendered = parameters(render(table(postfix={"queue_run_delay": "10s"}), HOST, Phase.OPEN))
    assert rendered["queue_run_delay"] == "10s"


@pytest.mark.parametrize("phase", PHASES)
def test_nobody_but_trusted_networks_may_relay(phase: Phase) -> None:
    rendered = parameters(render(table(networks=("192.0.2.0/24",)), HOST, phase))
    assert rendered["mynetworks"] == "192.0.2.0/24"
    assert rendered["smtpd_relay_restrictions"] == f"{canaryconf.RESTRICTION}, permit_mynetworks, reject"


def test_without_trusted_networks_not_even_loopback_may_relay() -> None:
    assert parameters(render(table(networks=()), HOST, Phase.OPEN))["mynetworks"] == ""


def test_ipv6_networks_are_written_in_brackets() -> None:
    rendered = parameters(render(table(networks=("10.0.0.0/8", "fd00::/16")), HOST, Phase.OPEN))
    assert rendered["mynetworks"] == "10.0.0.0/8 [fd00::]/16"


def test_every_listener_of_clients_wants_the_proxy_header() -> None:
    assert parameters(CONFIGURATIONS["open"]())["smtpd_upstream_proxy_protocol"] == "haproxy"
    clients = CONFIGURATIONS["open"]().master_cf.split("\n10026 ")[0]
    assert "smtpd_upstream_proxy_protocol" not in clients


def test_the_check_port_takes_no_recipient() -> None:
    services = CONFIGURATIONS["open"]().master_cf.split("\n10026 ")[1].split("\npickup")[0]
    assert "smtpd_relay_restrictions=reject" in services
    assert "mynetworks=\n" in services


@pytest.mark.parametrize("phase", [Phase.CLOSED, Phase.FROZEN])
def test_a_relay_that_takes_no_mail_has_no_listener_for_clients_or_siblings(phase: Phase) -> None:
    disabled = parameters(render(table(), HOST, phase, door=IDENTITY))["master_service_disable"].split()
    assert disabled == [f"{port}.inet" for port in (*CLIENT_PORTS, HAND_OFF_PORT)]


def test_a_freeze_stops_every_delivery_service_there_is() -> None:
    deferred = parameters(render(table(), HOST, Phase.FROZEN))["defer_transports"].split()
    delivering = {"smtp", "lmtp", "error", "local", "virtual", "pipe", "discard"}
    services = [line.split() for line in internal_services().splitlines()]
    assert (
        set(deferred) == {words[0] for words in services if words[-1] in delivering} == set(DELIVERY_SERVICES)
    )


def test_a_freeze_stops_the_services_of_next_hops_as_well() -> None:
    deferred = parameters(render(table(), HOST, Phase.FROZEN, ways=WAYS))["defer_transports"].split()
    assert deferred == [*DELIVERY_SERVICES, *(service.name for service in WAYS.services)]


def test_a_freeze_lets_no_message_grow_too_old() -> None:
    rendered = parameters(render(table(), HOST, Phase.FROZEN))
    assert rendered["maximal_queue_lifetime"] == rendered["bounce_queue_lifetime"] == f"{100 * 86400}s"


def test_what_a_freeze_set_is_gone_when_the_relay_opens_again() -> None:
    rendered = parameters(render(table(), HOST, Phase.OPEN))
    assert (rendered["defer_transports"], rendered["master_service_disable"]) == ("", "2465.inet")
    assert rendered["maximal_queue_lifetime"] == f"{5 * 86400}s"


def test_without_a_smarthost_mail_goes_to_the_mx_of_the_recipient() -> None:
    rendered = parameters(render(table(), HOST, Phase.OPEN))
    assert (rendered["default_transport"], rendered["relayhost"]) == ("smtp", "")


def test_a_message_of_the_largest_size_fits_into_a_queue_file_and_the_announced_size_is_exact() -> None:
    configuration = render(table(), HOST, Phase.OPEN)
    limit = 25 * 2**20
    assert int(parameters(configuration)["message_size_limit"]) > limit + limit // 128
    assert configuration.master_cf.count(f"-o message_size_limit={limit}\n") == len(CLIENT_PORTS) + 1


def test_mail_is_refused_for_now_before_the_disk_is_full() -> None:
    assert int(parameters(render(table(), HOST, Phase.OPEN))["queue_minfree"]) > 1.5 * 25 * 2**20


def test_a_rehearsal_has_no_port_and_its_mail_reaches_nobody() -> None:
    rehearsal = CONFIGURATIONS["rehearsal"]()
    assert " inet " not in rehearsal.master_cf
    rendered = parameters(rehearsal)
    assert (rendered["default_transport"], rendered["relayhost"]) == ("smtp:[127.0.0.1]:1", "")
    assert rendered["smtp_bind_address"] == "127.0.0.1"
    assert "smtp_bind_address" not in rehearsal.master_cf
    assert rendered["queue_directory"].startswith("/run/smtpfleet/rehearsal/")


def test_users_cannot_lead_a_rehearsal_out() -> None:
    escapes = {"smtp_fallback_relay": "[192.0.2.1]", "smtp_bind_address": "192.0.2.2"}
    rehearsal = render_rehearsal(
        table(postfix=escapes), HOST, queue=Path("/queue"), data=Path("/data"), login=Path("/login")
    )
    rendered = parameters(rehearsal)
    assert (rendered["smtp_fallback_relay"], rendered["smtp_bind_address"]) == ("", "127.0.0.1")


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(PHASES, 2)))
def test_each_phase_has_a_configuration_of_its_own(one: Phase, other: Phase) -> None:
    assert render(table(), HOST, one) != render(table(), HOST, other)


@pytest.mark.parametrize(
    ("mode", "chain", "level", "closed"),
    [
        (TlsMode.NONE, None, "none", "2465.inet"),
        (TlsMode.OPTIONAL, CHAIN, "may", ""),
        (TlsMode.OPTIONAL, None, "none", "2465.inet"),
        (TlsMode.REQUIRED, CHAIN, "encrypt", ""),
        (TlsMode.REQUIRED, None, "none", "2465.inet"),
    ],
)
def test_tls_is_offered_as_the_mode_says_and_never_without_a_certificate(
    mode: TlsMode, chain: Path | None, level: str, closed: str
) -> None:
    rendered = parameters(render(table(tls=mode), HOST, Phase.OPEN, chain=chain))
    assert (rendered["smtpd_tls_security_level"], rendered["smtpd_tls_chain_files"]) == (
        level,
        str(chain or ""),
    )
    assert rendered["master_service_disable"] == closed


def test_only_what_needs_a_certificate_and_has_none_refuses_mail_and_only_for_now() -> None:
    def restriction(mode: TlsMode, chain: Path | None) -> str:
        return parameters(render(table(tls=mode), HOST, Phase.OPEN, chain=chain))["smtpd_sender_restrictions"]

    refusing = {
        (mode, chain): restriction(mode, chain)
        for mode, chain in itertools.product(TlsMode, (CHAIN, None))
        if "check_policy_service" not in restriction(mode, chain)
    }
    assert list(refusing) == [(TlsMode.REQUIRED, None)]
    assert "static:{454 4.7.0 " in refusing[TlsMode.REQUIRED, None]


def test_no_version_before_tls_1_2_is_spoken() -> None:
    rendered = parameters(CONFIGURATIONS["tls-optional"]())
    assert rendered["smtpd_tls_protocols"] == rendered["smtpd_tls_mandatory_protocols"] == ">=TLSv1.2"


def test_a_new_chain_file_changes_the_configuration_so_postfix_reloads() -> None:
    other = CHAIN.with_name("fedcba9876543210.pem")
    one, two = (
        render(table(tls=TlsMode.OPTIONAL), HOST, Phase.OPEN, chain=chain) for chain in (CHAIN, other)
    )
    assert one != two
    assert one.master_cf == two.master_cf


def test_the_implicit_port_begins_with_tls_whatever_the_mode() -> None:
    service = CONFIGURATIONS["open"]().master_cf.split("\n2465 ")[1].split("\n10026 ")[0]
    assert "-o smtpd_tls_wrappermode=yes" in service
    assert "-o smtpd_tls_security_level=encrypt" in service


def test_only_the_ports_of_clients_sign() -> None:
    master = CONFIGURATIONS["signing"]().master_cf
    services = re.split(r"\n(?=\S)", master)
    signing = [service.split()[0] for service in services if "smtpd_milters = unix:" in service]
    assert signing == ["2525", "2587", "2465"]
    assert parameters(CONFIGURATIONS["signing"]())["smtpd_milters"] == ""
    assert parameters(CONFIGURATIONS["signing"]())["milter_default_action"] == "tempfail"
    assert "unix:" not in CONFIGURATIONS["rehearsal"]().master_cf
