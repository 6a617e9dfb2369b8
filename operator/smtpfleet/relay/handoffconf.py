"""The hand-off in Postfix's configuration: the SMTP client that gives, and the smtpd that takes. Pure.

Both show the one certificate of the pool's relays, which the operator makes for nothing else, and both insist on it by
its fingerprint. So only relays of the pool give, and only relays of the pool are given to, whatever the network lets
through. XFORWARD carries the id that a message got when a client handed it in: it holds the time of its arrival.

Guarantees: nothing that belongs to clients is asked of mail that is handed over: no network, user, sender, size, rate,
number of hops, header check, address map or milter; what it was when it was acknowledged, it stays. A refusal never
bounces a message: it stays where it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.api.names import HAND_OFF_PORT
from smtpfleet.relay.nexthop import Service
from smtpfleet.relay.refusals import PREFIX

SERVICE: Final = "handoff"
"""Name of the client in master.cf. No parameter of a user's can name it: they name Postfix's own."""
PROGRAM: Final = f"{PREFIX}{SERVICE}/"
"""How its lines in the log begin."""
TAKING: Final = f"{PREFIX}taken/"
"""The same of what siblings hand over."""
CONCURRENCY: Final = 3
"""Messages at a time, to all siblings together: more would slow clients down and gain nothing (measured)."""
TAKE_PROCESSES: Final = 50
_CLEANUP: Final = "cleanup-taken"
_KNOWN: Final = "permit_tls_clientcerts,reject"
_EVERYTHING_IS_TEMPORARY: Final = r"{ smtp_delivery_status_filter = regexp:{{/^5(.*)$$/ 4$$1}} }"
_RECIPIENTS: Final = 1000
"""Of one delivery: as many as smtpd takes of a client, so that no message is split for their number."""
_HOPS: Final = 100


@dataclass(frozen=True, slots=True)
class Identity:
    """What relays of the pool show each other: file with key and certificate, SHA-256 of the certificate in hex."""

    chain: Path
    fingerprint: str

    @property
    def print(self) -> str:
        """The fingerprint as Postfix writes it."""
        text = self.fingerprint.upper()
        return ":".join(text[i : i + 2] for i in range(0, len(text), 2))


def client(identity: Identity) -> Service:
    """The service that gives messages to siblings."""
    empty = (
        "smtp_tls_policy_maps", "smtp_tls_per_site", "smtp_fallback_relay", "smtp_generic_maps", "smtp_header_checks",
        "smtp_mime_header_checks", "smtp_nested_header_checks", "smtp_body_checks", "smtp_reply_filter",
        "smtp_discard_ehlo_keywords", "smtp_discard_ehlo_keyword_address_maps", "smtp_bind_address",
        "smtp_bind_address6",
    )  # fmt: skip
    return Service(
        SERVICE,
        "",
        (
            f"syslog_name={PREFIX}{SERVICE}",
            "smtp_tls_security_level=fingerprint",
            "smtp_tls_fingerprint_digest=sha256",
            f"smtp_tls_fingerprint_cert_match={identity.print}",
            f"smtp_tls_chain_files={identity.chain}",
            "smtp_tls_loglevel=0",
            "smtp_sasl_auth_enable=no",
            "smtp_send_xforward_command=yes",
            "smtp_connect_timeout=5s",
            "smtp_line_length_limit=0",
            "smtputf8_enable=yes",
            *(f"{name}=" for name in empty),
            _EVERYTHING_IS_TEMPORARY,
        ),
        processes=CONCURRENCY,
    )


def route(siblings: Sequence[str]) -> str:
    """The map by which every message goes to one of these addresses, chosen anew at each attempt; empty: to none."""
    targets = ", ".join(f"{SERVICE}:[{address}]:{HAND_OFF_PORT}" for address in siblings)
    return f"randmap:{{{targets}}}" if targets else ""


def parameters(services: Iterable[Service]) -> dict[str, str]:
    """main.cf parameters of the client."""
    if all(service.name != SERVICE for service in services):
        return {}
    # Whatever is set for destinations in general.
    limits = {
        "destination_concurrency_limit": str(CONCURRENCY),
        "initial_destination_concurrency": str(CONCURRENCY),
        "destination_concurrency_failed_cohort_limit": "10",
        "destination_recipient_limit": str(_RECIPIENTS),
        "destination_rate_delay": "0s",
        "transport_rate_delay": "0s",
    }
    return {f"{SERVICE}_{name}": value for name, value in limits.items()}


def listener(identity: Identity, *, minfree_bytes: int) -> list[str]:
    """Lines of master.cf for the port where siblings hand over. ``minfree_bytes``: room below which it answers 452."""
    empty = (
        "smtpd_upstream_proxy_protocol", "mynetworks", "smtpd_milters", "smtpd_proxy_filter", "content_filter",
        "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_recipient_restrictions",
        "smtpd_end_of_data_restrictions", "smtpd_discard_ehlo_keywords", "smtpd_discard_ehlo_keyword_address_maps",
        "smtpd_command_filter", "smtpd_reject_footer",
    )  # fmt: skip
    unlimited = (
        "connection_count_limit", "connection_rate_limit", "message_rate_limit", "recipient_rate_limit",
        "new_tls_session_rate_limit", "auth_rate_limit",
    )  # fmt: skip
    options = (
        f"syslog_name={TAKING.rstrip('/')}",
        f"cleanup_service_name={_CLEANUP}",
        "smtpd_tls_security_level=encrypt",
        f"smtpd_tls_chain_files={identity.chain}",
        "smtpd_tls_ask_ccert=yes",
        "smtpd_tls_fingerprint_digest=sha256",
        f"{{ relay_clientcerts = inline:{{{identity.print}=relay}} }}",
        "smtpd_tls_received_header=no",
        "smtpd_tls_loglevel=0",
        "smtpd_sasl_auth_enable=no",
        # Asked after TLS, at the first recipient; and once more, for postmaster is taken from anybody there.
        "smtpd_delay_reject=yes",
        f"smtpd_client_restrictions={_KNOWN}",
        f"smtpd_relay_restrictions={_KNOWN}",
        f"smtpd_data_restrictions={_KNOWN}",
        "smtpd_authorized_xforward_hosts=static:all",
        "smtpd_reject_unlisted_recipient=no",
        "smtpd_reject_unlisted_sender=no",
        "receive_override_options=no_header_body_checks,no_unknown_recipient_checks,no_address_mappings,no_milters",
        "message_size_limit=0",
        f"queue_minfree={minfree_bytes}",
        f"smtpd_recipient_limit={2 * _RECIPIENTS}",
        "smtputf8_enable=yes",
        "strict_rfc821_envelopes=no",
        *(f"{name}=" for name in empty),
        *(f"smtpd_client_{name}=0" for name in unlimited),
    )
    return [
        f"{HAND_OFF_PORT} inet n - n - {TAKE_PROCESSES} smtpd",
        *_options(options),
        f"{_CLEANUP} unix n - n - 0 cleanup",
        *_options(("message_size_limit=0", f"hopcount_limit={_HOPS}", "smtputf8_enable=yes")),
    ]


def _options(options: Iterable[str]) -> list[str]:
    return [f"  -o {option}" for option in options]
