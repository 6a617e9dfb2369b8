"""Backups: when they are asked, in which order, and how they are reached."""

import re

import pytest

from smtpfleet.api.routing import BackupRoute, BalancingTable
from smtpfleet.balancer import backups
from smtpfleet.balancer.config import render, structure
from smtpfleet.balancer.place import cluster_domain
from smtpfleet.balancer.sessions import CHECK_AGAIN_MS, CHECK_TIMEOUT_MS
from tests.unit.balancer.goldens import BACKUPS, HERE, table

TEXT = render(table(100, 30, balancing=BACKUPS), HERE)


def _with(*routes: BackupRoute) -> str:
    return render(table(100, balancing=BalancingTable(backups=routes)), HERE)


def _backend(text: str, name: str) -> str:
    found = re.search(rf"^backend {name}\n((?:    .*\n)+)", text, re.MULTILINE)
    return found[1] if found else ""


def test_a_pool_without_backups_is_as_it_was() -> None:
    assert "gone" not in render(table(100))
    assert "backend backups" not in render(table(100))


def test_relays_and_their_unchecked_copies_stay_as_they_are_in_a_pool_without_backups() -> None:
    assert _backend(TEXT, "relays") == _backend(render(table(100, 30)), "relays")


def test_backups_are_chosen_only_while_no_relay_is_available_and_one_of_them_answers() -> None:
    chosen = re.findall(r"^    use_backend backups if (.+)$", TEXT, re.MULTILINE)
    assert chosen == ["{ lua.relays_gone -m bool } !tls_first { nbsrv(backups) gt 0 }"]
    assert TEXT.index("use_backend backups") < TEXT.index("default_backend relays")


def test_the_first_that_answers_is_used() -> None:
    assert "    balance first\n" in _backend(TEXT, "backups")
    servers = re.findall(r"    server (\S+) (\S+)", _backend(TEXT, "backups"))
    assert servers == [
        ("backup-1", "192.0.2.25:25"),
        ("backup-2", "other.mail.svc.cluster.local:587"),
    ]


def test_only_backups_with_a_port_for_it_serve_clients_that_begin_with_tls() -> None:
    assert re.findall(r"    server (\S+) (\S+)", _backend(TEXT, "backups-submissions")) == [
        ("backup-2", "other.mail.svc.cluster.local:465")
    ]
    assert "track backups/backup-2" in _backend(TEXT, "backups-submissions")
    assert "backups-submissions" not in _with(BackupRoute(host="192.0.2.25"))


def test_a_backup_gets_a_proxy_header_only_if_it_is_to() -> None:
    lines = _backend(TEXT, "backups").splitlines()
    assert ["send-proxy-v2" in line for line in lines if "server backup" in line] == [False, True]


def test_names_are_looked_up_while_haproxy_runs_and_never_hold_up_its_start() -> None:
    assert "resolvers pod" not in _with(BackupRoute(host="192.0.2.25"))
    text = _with(BackupRoute(host="smtp.provider.example"))
    assert "server backup-1 smtp.provider.example:25 resolvers pod init-addr none\n" in text
    assert "\nresolvers pod\n    parse-resolv-conf\n" in text


def test_other_backups_are_a_reason_to_reload() -> None:
    assert structure(table(100)) != structure(table(100, balancing=BACKUPS))
    assert structure(table(100, balancing=BACKUPS)) == structure(table(30, balancing=BACKUPS))


def test_a_single_failed_check_of_every_relay_does_not_send_mail_to_a_backup() -> None:
    assert backups.GONE_AFTER_MS >= CHECK_AGAIN_MS + CHECK_TIMEOUT_MS


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("nameserver 10.96.0.10\nsearch mail.svc.example.net svc.example.net example.net\n", "example.net"),
        ("search mail.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n", "cluster.local"),
        ("nameserver 10.96.0.10\n", "cluster.local"),
    ],
)
def test_the_clusters_domain_is_found_in_the_search_list(text: str, domain: str) -> None:
    assert cluster_domain(text) == domain
