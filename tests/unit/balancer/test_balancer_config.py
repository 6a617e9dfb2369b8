"""HAProxy's configuration: golden files for its form, sentences for what must be true of any of them."""

import re

import pytest

from smtpfleet.api.balancing import BalancingMethod
from smtpfleet.api.routing import RouteState
from smtpfleet.api.submission import TlsMode
from smtpfleet.balancer.config import render, structure, weights
from smtpfleet.balancer.sessions import (
    CHECK_AGAIN_MS,
    CHECK_TIMEOUT_MS,
    CLOSE_AFTER_MS,
    CONNECT_TIMEOUT_MS,
    SCRIPT,
)
from tests.unit.balancer.goldens import FILES, table, texts


def _servers(text: str) -> dict[str, str]:
    return dict(re.findall(r"^    server (\S+) (.+)$", text, re.MULTILINE))


def _id(options: str) -> str:
    found = re.search(r" id (\d+)$", options)
    assert found
    return found[1]


@pytest.mark.parametrize("name", texts())
def test_the_file_is_as_its_golden_file(name: str) -> None:
    assert texts()[name] == (FILES / name).read_text()


def test_there_is_no_golden_file_without_a_configuration() -> None:
    assert {path.name for path in FILES.iterdir()} == set(texts())


def test_a_weight_alone_does_not_change_the_structure() -> None:
    assert structure(table(100, 100)) == structure(table(100, 0))


@pytest.mark.parametrize("other", [table(100), table(100, 100, method=BalancingMethod.RANDOM)])
def test_another_set_of_relays_or_another_method_changes_the_structure(other: object) -> None:
    assert structure(table(100, 100)) != structure(other)  # type: ignore[arg-type]  # parametrize loses the type


def test_a_change_of_weight_names_servers_that_the_file_has() -> None:
    assert set(weights(table(100, 30))) == set(_servers(render(table(100, 30))))


def test_a_relay_that_drains_gets_no_mail_as_a_copy_either() -> None:
    assert weights(table(100, 0))["outbound-relay-1.unchecked"] == 0


def test_a_pool_whose_relays_all_drain_still_takes_mail_through_the_copies() -> None:
    found = weights(table(0, 0))
    assert (found["outbound-relay-0"], found["outbound-relay-0.unchecked"]) == (0, 1)


def test_copies_are_backups_that_nothing_checks() -> None:
    copies = [line for name, line in _servers(render(table(100, 30))).items() if name.endswith(".unchecked")]
    assert copies
    assert all(line.endswith("backup no-check no-agent-check") for line in copies)


def test_a_relay_keeps_its_place_in_the_hash_when_another_one_goes() -> None:
    both = _servers(render(table(100, 100)))
    without = _servers(render(table(100, 100).model_copy(update={"relays": table(100, 100).relays[1:]})))
    assert _id(both["outbound-relay-1"]) == _id(without["outbound-relay-1"])


def test_two_hundred_relays_have_ids_of_their_own() -> None:
    servers = _servers(render(table(*[100] * 200, network="fd00::")))
    ids = [_id(options) for name, options in servers.items() if not name.endswith(".unchecked")]
    assert len(set(ids)) == 200


def test_an_ipv6_address_stands_in_brackets_because_servers_have_no_port() -> None:
    assert _servers(render(table(100, network="fd00::")))["outbound-relay-0"].startswith("[fd00::1] ")


def test_no_connection_is_still_being_made_when_sessions_are_closed() -> None:
    assert CLOSE_AFTER_MS >= CONNECT_TIMEOUT_MS + 100


def test_sessions_are_closed_no_sooner_than_a_second_check_can_fail() -> None:
    assert CLOSE_AFTER_MS >= CHECK_AGAIN_MS + CHECK_TIMEOUT_MS
    assert f"if alone >= {CLOSE_AFTER_MS} and" in SCRIPT


def test_haproxy_itself_closes_no_session_of_a_server_that_goes_down() -> None:
    assert "on-marked-down" not in render(table(100))


@pytest.mark.parametrize("mode", TlsMode)
def test_the_port_of_implicit_tls_is_there_unless_there_is_no_tls(mode: TlsMode) -> None:
    assert ("bind :2465\n" in render(table(100, tls=mode))) is (mode is not TlsMode.NONE)


def test_a_change_between_optional_and_required_needs_no_reload_but_none_does() -> None:
    none, optional, required = (structure(table(100, tls=mode)) for mode in TlsMode)
    assert none != optional == required


def test_a_relay_that_is_out_but_does_not_drain_is_the_last_resort() -> None:
    """Its copy takes connections only when the checks fail for every relay with a weight."""
    both = table(100, 100, 100)
    out = both.relays[1].model_copy(update={"weight": 0})
    drains = both.relays[2].model_copy(update={"weight": 0, "state": RouteState.DRAINING})
    shown = weights(both.model_copy(update={"relays": (both.relays[0], out, drains)}))
    assert list(shown.values()) == [100, 0, 0, 100, 1, 0]
    alone = weights(both.model_copy(update={"relays": (out, drains)}))
    assert list(alone.values()) == [0, 0, 1, 0]
