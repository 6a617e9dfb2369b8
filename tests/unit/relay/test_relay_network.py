"""Sessions and listeners, from the kernel's tables."""

import errno
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from smtpfleet.relay import sockdiag
from smtpfleet.relay.network import PortReader, Ports, count, parse, protocols, read_sockets, read_tables
from smtpfleet.relay.sockdiag import messages

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000     0        0 1"
PORTS = frozenset({2525, 2587})
NLMSG_ERROR, NLMSG_DONE = 2, 3
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


def _loopback(family: socket.AddressFamily) -> str:
    address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    try:
        socket.create_server((address, 0), family=family).close()
    except OSError as error:
        pytest.skip(f"this machine has no {address}: {error}")
    return address


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("read", [read_sockets, read_tables])
def test_the_kernel_tells_of_both_families_one_way_and_the_other(
    family: socket.AddressFamily, read: Callable[[list[int]], Ports]
) -> None:
    address = _loopback(family)
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        with socket.create_connection((address, port)):
            assert read([port]) == Ports(1, frozenset({port}))  # nobody has accepted it yet
    assert read([port]) == Ports(0, frozenset())


def test_where_there_is_no_netlink_proc_is_read_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refused(family: int, _: object) -> Iterator[tuple[int, int]]:
        asked.append(family)
        raise FileNotFoundError

    monkeypatch.setattr(sockdiag, "tcp_sockets", refused)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reader = PortReader([port])
        assert [reader.read(), reader.read()] == [Ports(0, frozenset({port}))] * 2
    assert asked == [socket.AF_INET]


def test_answers_of_several_datagrams_are_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    datagrams = []

    def counted(data: bytes) -> tuple[list[tuple[int, int]], bool]:
        datagrams.append(data)
        return messages(data)

    monkeypatch.setattr(sockdiag, "messages", counted)
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server, ExitStack() as clients:
        port = server.getsockname()[1]
        for _ in range(200):
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert PortReader([port]).read() == Ports(200, frozenset({port}))
    assert len(datagrams) > 4  # of each family the sockets at once, and the end, were four


@pytest.mark.parametrize("kind", [NLMSG_ERROR, NLMSG_DONE])
def test_a_question_that_the_kernel_cannot_answer_is_an_error_wherever_it_says_so(kind: int) -> None:
    """The kernel tells of a family that it does not know at once, and of a protocol at the end of its answer."""
    with pytest.raises(FileNotFoundError):
        messages(struct.pack("=IHHIIi", 20, kind, 0, 0, 0, -errno.ENOENT))
    assert messages(struct.pack("=IHHIIi", 20, NLMSG_DONE, 0, 0, 0, 0)) == ([], True)
    with pytest.raises(FileNotFoundError):
        list(sockdiag.tcp_sockets(socket.AF_APPLETALK, {LISTEN}))


def test_the_pods_own_family_is_always_used() -> None:
    assert "ipv4" in protocols(ipaddress.ip_address("10.244.1.7"))
    assert "ipv6" in protocols(ipaddress.ip_address("fd00::7"))
