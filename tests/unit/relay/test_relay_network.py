"""Sessions and listeners, from the kernel's tables."""

import ipaddress
import socket

from smtpfleet.relay.network import parse_ports, protocols, read_ports

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000     0        0 1"
PORTS = frozenset({2525, 2587})


def _line(port: int, state: int) -> str:
    return f"   0: 0100007F:{port:04X} 0200007F:C350 {state:02X} {REST}\n"


def _line6(port: int, state: int) -> str:
    return f"   0: {'0' * 32}:{port:04X} {'0' * 32}:0000 {state:02X} {REST}\n"


def test_listeners_are_no_sessions() -> None:
    seen = parse_ports([HEADER + _line(2525, 0x0A) + _line(2587, 0x0A)], PORTS)
    assert (seen.sessions, seen.listening) == (0, PORTS)


def test_sessions_of_both_families_count() -> None:
    assert parse_ports([HEADER + _line(2525, 0x01), HEADER + _line6(2587, 0x01)], PORTS).sessions == 2


def test_a_connection_that_is_about_to_be_counts() -> None:
    assert parse_ports([HEADER + _line(2525, 0x03)], PORTS).sessions == 1


def test_a_session_whose_client_has_closed_counts_until_smtpd_has() -> None:
    assert parse_ports([HEADER + _line(2525, 0x08)], PORTS).sessions == 1


def test_what_is_over_does_not_count() -> None:
    over = (0x02, 0x04, 0x05, 0x06, 0x07, 0x09, 0x0B)
    assert parse_ports([HEADER + "".join(_line(2525, state) for state in over)], PORTS).sessions == 0


def test_checks_and_other_ports_do_not_count() -> None:
    seen = parse_ports([HEADER + _line(10026, 0x01) + _line(8080, 0x0A)], PORTS)
    assert (seen.sessions, seen.listening) == (0, frozenset())


def test_the_kernels_own_tables_are_understood() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            seen = read_ports([port])
    assert (seen.sessions, seen.listening) == (1, frozenset({port}))


def test_the_pods_own_family_is_always_used() -> None:
    assert "ipv4" in protocols(ipaddress.ip_address("10.244.1.7"))
    assert "ipv6" in protocols(ipaddress.ip_address("fd00::7"))
