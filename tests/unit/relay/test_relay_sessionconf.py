"""What no pool can switch off, and what it may."""

import pytest

from smtpfleet.api.postfix_parameters import is_owned
from smtpfleet.relay.mainconf import Phase, render
from smtpfleet.relay.services import master_cf
from smtpfleet.relay.sessionconf import OVERRIDABLE, OWNED
from tests.unit.relay.goldens import HOST, parameters, table


@pytest.mark.parametrize("parameter", OWNED)
def test_what_guards_against_smuggling_and_strangers_cannot_be_set_by_users(parameter: str) -> None:
    assert is_owned(parameter)


@pytest.mark.parametrize("parameter", OVERRIDABLE)
def test_limits_of_sessions_may_be_set_by_users(parameter: str) -> None:
    changed = render(table(postfix={parameter: "other"}), HOST, Phase.OPEN)
    assert parameters(changed)[parameter] == "other"


def test_stripping_instead_of_refusing_a_nul_cannot_be_chosen() -> None:
    assert is_owned("message_strip_characters")


@pytest.mark.parametrize("phase", list(Phase))
def test_who_may_relay_is_asked_again_before_content(phase: Phase) -> None:
    asked = parameters(render(table(), HOST, phase))["smtpd_data_restrictions"].split(", ")
    assert asked == ["permit_mynetworks", "permit_sasl_authenticated", "reject"]


def test_the_check_port_takes_no_content_from_anybody() -> None:
    check = master_cf(size_limit_bytes=1024).split("\n10026 ")[1].split("\npickup")[0]
    assert "-o smtpd_data_restrictions=reject\n" in check
