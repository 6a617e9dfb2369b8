"""Postfix's parameters for TLS of submission: a pure function of the table and of the chain file that is there.

Guarantees: without a chain file nothing is offered that would fail, and with ``Required`` no mail is taken; TLS 1.2 is
the oldest version; nothing here can be set from ``relay.postfix``.
"""

from pathlib import Path
from typing import Final

from smtpfleet.api.names import SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT
from smtpfleet.api.routing import SubmissionTls
from smtpfleet.api.submission import TlsMode

PLAIN_PORTS: Final = (SMTP_PORT, SUBMISSION_PORT)
"""Clients begin in clear here, and may go on with STARTTLS."""
CLIENT_PORTS: Final = (*PLAIN_PORTS, SUBMISSIONS_PORT)
"""Every port that takes mail from clients."""
IMPLICIT_OPTIONS: Final = ("smtpd_tls_wrappermode=yes", "smtpd_tls_security_level=encrypt")
"""Of the port where TLS begins with the first byte (after the balancer's PROXY header)."""
_NOT_NOW: Final = "454 4.7.0 TLS is required and not available now, try again later"


def parameters(tls: SubmissionTls, chain: Path | None) -> dict[str, str]:
    """main.cf parameters. ``chain`` holds key, certificate and issuers; None: there is no certificate."""
    return {
        "smtpd_tls_security_level": _level(tls, chain),
        "smtpd_tls_chain_files": str(chain or ""),
        "smtpd_tls_protocols": ">=TLSv1.2",
        "smtpd_tls_mandatory_protocols": ">=TLSv1.2",
        "smtpd_tls_auth_only": "yes",
        "smtpd_tls_received_header": "yes",
        "smtpd_tls_loglevel": "1",
    }


def refusal(tls: SubmissionTls, chain: Path | None) -> str:
    """A restriction that refuses every message for now, because TLS is required and there is none; else empty.

    Without it smtpd would answer 530, which makes clients give up mail for a trouble of ours that passes.
    """
    return f"check_client_access static:{{{_NOT_NOW}}}" if lacking(tls, chain) else ""


def lacking(tls: SubmissionTls, chain: Path | None) -> bool:
    """Whether no mail can be taken for want of a certificate."""
    return tls.mode is TlsMode.REQUIRED and chain is None


def open_ports(chain: Path | None, *, users: bool = False) -> tuple[int, ...]:
    """Ports that listen while the relay takes mail: with users, port 587 is never without TLS."""
    if chain:
        return CLIENT_PORTS
    return (SMTP_PORT,) if users else PLAIN_PORTS


def _level(tls: SubmissionTls, chain: Path | None) -> str:
    if chain is None:
        return "none"
    return "encrypt" if tls.mode is TlsMode.REQUIRED else "may"
