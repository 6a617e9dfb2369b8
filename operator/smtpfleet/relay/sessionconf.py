"""Postfix's parameters against clients that break the protocol, smuggle, or waste its time; no table changes them.

Guarantees: what a relay sends on has the line ends and the addresses that it was handed, and no byte that a sloppy
receiver could take for the end of a message; a session that makes no progress ends. docs/security.md has the tables.
Sources: postconf(5), RFC 5321 2.3.8 and 4.1.1.4, RFC 5322 2.3, and STRESS_README for what Postfix does under stress.
"""

from typing import Final

from smtpfleet.relay.services import SMTPD_PROCESSES

OVERRIDABLE: Final = {
    # Half of a port's sessions, as Postfix has it by default, and as there only for clients outside mynetworks: a
    # stranger with idle sessions leaves room for others. What a client may have of the pool is the balancers' to say.
    "smtpd_client_connection_count_limit": str(SMTPD_PROCESSES // 2),
    # A byte now and then does not prolong a command: it has smtpd_timeout in all, and content has to come faster than
    # smtpd_min_data_rate (500 bytes a second).
    "smtpd_per_request_deadline": "yes",
    # postconf(5) has 300 s. A handshake is the machine's work alone: nobody has to look for a file meanwhile.
    "smtpd_starttls_timeout": "${stress?{10}:{60}}s",
    # ETRN would be refused to everybody: not offered, either.
    "smtpd_discard_ehlo_keywords": "etrn, silent-discard",
    "tls_ssl_options": "NO_RENEGOTIATION",
}
"""Defaults that ``relay.postfix`` may change. Other limits (1000 recipients, 20 errors …) are Postfix's own."""

OWNED: Final = {
    # RFC 5321 line ends and command order, without exceptions: against SMTP smuggling.
    "smtpd_forbid_bare_newline": "normalize",
    "smtpd_forbid_bare_newline_exclusions": "",
    "smtpd_forbid_unauth_pipelining": "yes",
    # What is left of them, such as a CR alone, is sent on as a space.
    "cleanup_replace_stray_cr_lf": "yes",
    # No message may hold one, and some receivers drop it, which makes "CRLF NUL . CRLF" an end of data.
    "message_reject_characters": "\\0",
    # A local part is the business of its domain: user%other@domain and other!user@domain are not routed anew, or a
    # sender in an allowed domain could become one in another.
    "allow_percent_hack": "no",
    "swap_bangpath": "no",
    "smtpd_etrn_restrictions": "reject",
    # smtpd takes RCPT TO:<postmaster> from anybody, whatever the restrictions for recipients say (RFC 5321 4.5.1): here
    # that would be mail into the queue, and bounces out of it. So who may relay is asked again before content.
    "smtpd_data_restrictions": "permit_mynetworks, permit_sasl_authenticated, reject",
}
"""What only the operator sets; every name is one of :mod:`smtpfleet.api.postfix_parameters`."""
