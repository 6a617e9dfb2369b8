"""How fast a client may send: what HAProxy is told of it."""

import re

import pytest

from smtpfleet.api.submission import Submission
from smtpfleet.api.values import bandwidth_bytes
from smtpfleet.balancer import bandwidth
from smtpfleet.balancer.config import render, structure
from tests.unit.balancer.goldens import BEHIND_PROXY, HERE, PEERS, table

MI = 2**20
HAPROXY_COUNTERS = 2**31
"""HAProxy 3.0 subtracts what was sent from what was allowed, in an int."""


def _told(bytes_per_s: int) -> tuple[int, int]:
    """Bytes and seconds."""
    text = "\n".join(bandwidth.rules(table(100, bandwidth=bytes_per_s)))
    limit, period = re.search(r" limit (\d+)$", text, re.MULTILINE), re.search(r"rate\((\d+)s\)", text)
    assert limit
    assert period
    return int(limit[1]), int(period[1])


def test_a_pool_without_a_limit_pays_nothing() -> None:
    assert "bwlim" not in render(table(100))
    assert "stick-table" not in render(table(100))


@pytest.mark.parametrize("mebibytes", range(1, 101))
def test_every_limit_of_the_api_is_told_exactly_and_fits_haproxys_counters(mebibytes: int) -> None:
    limit, period_s = _told(bandwidth_bytes(f"{mebibytes}Mi"))
    assert limit / period_s == mebibytes * MI
    assert limit < HAPROXY_COUNTERS


def test_the_default_lets_a_message_of_the_default_size_through_in_a_few_seconds() -> None:
    defaults = Submission()
    assert defaults.message_size_limit == "25Mi"
    assert bandwidth_bytes(defaults.max_bandwidth_per_client) * 7 >= 25 * MI


def test_the_filter_that_a_rule_names_is_there() -> None:
    text = render(table(100, bandwidth=MI))
    named = re.search(r"set-bandwidth-limit (\S+)$", text, re.MULTILINE)
    assert named
    assert f"filter bwlim-in {named[1]} " in text


def test_a_client_that_has_too_many_connections_is_refused_before_it_is_limited() -> None:
    text = render(table(100, balancing=PEERS, limit=20, bandwidth=MI), HERE)
    assert text.index("use-service lua.refuse") < text.index("set-bandwidth-limit")


def test_a_client_behind_an_outer_balancer_is_the_one_that_the_header_names() -> None:
    """``src``: what ``expect-proxy`` has set, before any rule for content."""
    text = render(table(100, balancing=BEHIND_PROXY, bandwidth=MI), HERE)
    assert "key src,ipmask(32,64) " in text
    assert text.index("expect-proxy") < text.index("set-bandwidth-limit")


def test_another_limit_is_a_reload() -> None:
    assert structure(table(100, bandwidth=MI)) != structure(table(100, bandwidth=2 * MI))
