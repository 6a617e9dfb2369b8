"""Postfix's master.cf as text: which daemons run, on which ports, and how many of each."""

from collections.abc import Iterable, Sequence
from typing import Final

from smtpfleet.api.names import CHECK_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT
from smtpfleet.relay.canaryconf import CANARY_SERVICE
from smtpfleet.relay.nexthop import Service
from smtpfleet.relay.tlsconf import IMPLICIT_OPTIONS, PLAIN_PORTS
from smtpfleet.relay.users.conf import SUBMISSION_OPTIONS
from smtpfleet.relay.ways import master_lines

SMTPD_PROCESSES: Final = 200
"""Sessions at a time and port. Each holds an smtpd and a cleanup, about 1 MB each (measured)."""
CHECK_PROCESSES: Final = 10
"""Checks at a time: apart from the clients' limit, so that a full relay is not taken for a dead one."""
DELIVERY_SERVICES: Final = ("smtp", "relay", "error", "retry", "discard", CANARY_SERVICE)
"""Every transport of master.cf: what a freeze must stop."""
REHEARSAL_AS_IS: Final = "rehearsal-as-is"
"""smtpd of a rehearsal with the user's restrictions, at a UNIX socket of this name."""
REHEARSAL_OPEN: Final = "rehearsal-open"
"""smtpd of a rehearsal that takes every message."""
_CHECK_OPTIONS: Final = (
    "syslog_name=postfix/check",
    # No PROXY header: smtpd 3.10 ends itself when a check that sent one as LOCAL is given up before it is answered.
    "smtpd_upstream_proxy_protocol=",
    "smtpd_tls_security_level=none",
    "smtpd_sasl_auth_enable=no",
    "mynetworks=",
    "smtpd_relay_restrictions=reject",
    "smtpd_client_restrictions=",
    "smtpd_helo_restrictions=",
    "smtpd_sender_restrictions=",
    "smtpd_recipient_restrictions=reject",
    "smtpd_data_restrictions=reject",
    "smtpd_client_connection_count_limit=0",
    "smtpd_client_connection_rate_limit=0",
    "smtpd_client_message_rate_limit=0",
    "smtpd_milters=",
)
"""For the balancers: smtpd greets and knows whether the disk has room, but takes no recipient at all."""
_UNRESTRICTED: Final = (
    "  -o smtpd_relay_restrictions=permit_mynetworks,reject",
    "  -o smtpd_client_restrictions=",
    "  -o smtpd_helo_restrictions=",
    "  -o smtpd_recipient_restrictions=",
    "  -o smtpd_data_restrictions=",
)

HEADER: Final = "# Written by the relay's agent, which overwrites every change.\n"


_ANY_FAMILY: Final = "inet_protocols=all"
"""An outer balancer may tell of clients with IPv6 addresses where pods have none: smtpd refuses a PROXY header of a
family that it does not use. It opens no port by this (master does that), and sends no mail."""


def master_cf(
    *,
    size_limit_bytes: int,
    any_family: bool = False,
    users: bool = False,
    milters: Sequence[str] = (),
    implicit_options: Iterable[str] = (),
    hand_off: Iterable[str] = (),
    services: Iterable[Service] = (),
) -> str:
    """The services. None is chrooted: a chroot needs copies of resolver files inside the queue.

    Args:
        size_limit_bytes: of a message.
        any_family: clients may have IPv4 and IPv6 addresses, whatever the pod has.
        users: somebody may log in.
        milters: sign what clients hand in, and nothing else.
        implicit_options: further ones, of the port where TLS begins with the first byte.
        hand_off: lines for the port where siblings hand over their queues.
        services: of next hops, last.
    """
    size_limit = f"message_size_limit={size_limit_bytes}"
    common = [size_limit]
    if any_family:
        common.append(_ANY_FAMILY)
    if milters:
        common.append(f"{{ smtpd_milters = {' '.join(milters)} }}")
    options = {SUBMISSION_PORT: SUBMISSION_OPTIONS} if users else {}
    clients = [
        line
        for port in PLAIN_PORTS
        for line in _smtpd(port, SMTPD_PROCESSES, [*common, *options.get(port, ())])
    ]
    implicit = [*common, *IMPLICIT_OPTIONS, *implicit_options]
    clients += _smtpd(SUBMISSIONS_PORT, SMTPD_PROCESSES, implicit)
    check = _smtpd(CHECK_PORT, CHECK_PROCESSES, [size_limit, *_CHECK_OPTIONS])
    return (
        HEADER + _lines([*clients, *check, *hand_off]) + internal_services() + _lines(master_lines(services))
    )


def _smtpd(port: int, processes: int, options: Iterable[str]) -> list[str]:
    return [f"{port} inet n - n - {processes} smtpd", *(f"  -o {option}" for option in options)]


def internal_services() -> str:
    """The services without a port."""
    return _lines(
        [
            "pickup     unix  n - n 60    1 pickup",
            "cleanup    unix  n - n -     0 cleanup",
            "qmgr       unix  n - n 300   1 qmgr",
            "tlsmgr     unix  - - n 1000? 1 tlsmgr",
            "rewrite    unix  - - n -     - trivial-rewrite",
            "bounce     unix  - - n -     0 bounce",
            "defer      unix  - - n -     0 bounce",
            "trace      unix  - - n -     0 bounce",
            "verify     unix  - - n -     1 verify",
            "flush      unix  n - n 1000? 0 flush",
            "proxymap   unix  - - n -     - proxymap",
            "proxywrite unix  - - n -     1 proxymap",
            "smtp       unix  - - n -     - smtp",
            "relay      unix  - - n -     - smtp",
            "showq      unix  n - n -     - showq",
            "error      unix  - - n -     - error",
            "retry      unix  - - n -     - error",
            "discard    unix  - - n -     - discard",
            f"{CANARY_SERVICE}     unix  - - n -     2 lmtp",
            "anvil      unix  - - n -     1 anvil",
            "scache     unix  - - n -     1 scache",
            "postlog    unix-dgram n - n - 1 postlogd",
        ]
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def rehearsal_master_cf(tried: Service) -> str:
    """The services of a Postfix without a port, for :func:`smtpfleet.relay.mainconf.render_rehearsal`."""
    services = [f"{REHEARSAL_AS_IS} unix n - n - 1 smtpd", f"{REHEARSAL_OPEN} unix n - n - 1 smtpd"]
    return HEADER + _lines([*services, *_UNRESTRICTED]) + internal_services() + _lines(master_lines([tried]))
