"""Sessions and listeners, from the kernel's tables."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from smtpfleet.relay import network, sockdiag
from smtpfleet.relay.network import Ports, count, parse, protocols, read_ports

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000     0        0 1"
PORTS = frozenset({2525, 2587})
LISTEN, ESTABLISHED, SYN_RECV, CLOSE_WAIT = 0x0A, 0x01, 0x03, 0x08


def test_listeners_are_no_sessions() -> None:
    assert count([(LISTEN, 2525), (LISTEN, 2587)], PORTS) == Ports(0, PORTS)


@pytest.mark.parametrize("state", [ESTABLISHED, SYN_RECV, CLOSE_WAIT])
def test_a_session_counts_from_its_first_packet_until_smtpd_has_closed_it(state: int) -> None:
    assert count([(state, 2525), (ESTABLISHED, 2587)], PORTS).sessions == 2


def test_what_is_over_does_not_count() -> None:
    over = (0x02, 0x04, 0x05, 0x06, 0x07, 0x09, 0x0B)
    assert count([(state, 2525) for state in over], PORTS) == Ports(0, frozenset())


def test_checks_and_other_ports_do_not_count() -> None:
    assert count([(ESTABLISHED, 10026), (LISTEN, 8080)], PORTS) == Ports(0, frozenset())


def test_a_table_of_proc_is_understood_for_both_families() -> None:
    line = f"   0: 0100007F:09DD 0200007F:C350 01 {REST}\n"
    line6 = f"   1: {'0' * 32}:0A1B {'0' * 32}:0000 0A {REST}\n"
    assert parse(HEADER + line + line6) == [(ESTABLISHED, 2525), (LISTEN, 2587)]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("by_netlink", [True, False])
def test_the_kernel_tells_of_both_families_one_way_or_the_other(
    address: str, by_netlink: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Iterator[tuple[int, int]]:
        raise PermissionError

    def unread(_: str) -> list[tuple[int, int]]:
        raise AssertionError("the dear way was taken though the other one is there")

    monkeypatch.setattr(*((network, "parse", unread) if by_netlink else (sockdiag, "tcp_sockets", refused)))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        with socket.create_connection((address, port)):
            assert read_ports([port]) == Ports(1, frozenset({port}))  # nobody has accepted it yet
    assert read_ports([port]) == Ports(0, frozenset())


def test_more_sockets_than_one_answer_holds_are_all_told() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server, ExitStack() as clients:
        port = server.getsockname()[1]
        for _ in range(500):
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert read_ports([port]) == Ports(500, frozenset({port}))


def test_a_question_that_the_kernel_refuses_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):  # ENOENT: nobody there knows of such sockets
        list(sockdiag.tcp_sockets(socket.AF_APPLETALK, {LISTEN}))


def test_the_pods_own_family_is_always_used() -> None:
    assert "ipv4" in protocols(ipaddress.ip_address("10.244.1.7"))
    assert "ipv6" in protocols(ipaddress.ip_address("fd00::7"))
