"""Postfix's parameters for users: a pure function of the table and of what the users can do.

Guarantees: without users nothing of SASL is on; AUTH is offered under TLS only, and port 587 is never without TLS;
mail of an authenticated client goes only where the agent has agreed to it.
"""

from collections.abc import Mapping
from typing import Final

from smtpfleet.api.probes import RECIPIENT
from smtpfleet.relay import canaryconf
from smtpfleet.relay.settings import Paths
from smtpfleet.relay.users.mechanisms import Mechanism

SUBMISSION_OPTIONS: Final = ("smtpd_tls_security_level=encrypt",)
"""Of port 587 of a pool with users, whatever the mode of TLS: a client that may send its password there must not be led
to send it in clear (RFC 8314, section 3.3)."""
CLASS: Final = "smtpfleet_users"
"""The restriction class that asks about a message of an authenticated client."""
PROBE_CLASS: Final = "smtpfleet_probes"
"""The restriction class of the probes' user: one recipient, to whom nothing can be delivered."""
_NOT_NOW: Final = "450 4.7.1 The users of this relay are not known now, try again later"


def parameters(
    paths: Paths, *, users: bool, scram: bool, pools: bool = False, probe: str = ""
) -> dict[str, str]:
    """main.cf parameters.

    Args:
        paths: of the sockets.
        users: the pool has users.
        scram: every user can log in by SCRAM, so it may be offered.
        pools: other pools log in. If nobody else does, :func:`pool_options` turn SASL on where they come in.
        probe: the user that the operator's probes are; empty: they do not log in.
    """
    if not (users or pools):
        return {"smtpd_sasl_auth_enable": "no"}
    offered = [each for each in Mechanism if scram or each is not Mechanism.SCRAM_SHA_256]
    return {
        "smtpd_sasl_auth_enable": "yes" if users else "no",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": str(paths.auth_socket),
        "smtpd_sasl_security_options": "noanonymous, noplaintext",
        "smtpd_sasl_tls_security_options": "noanonymous",
        "smtpd_sasl_mechanism_filter": ", ".join(offered if users else [Mechanism.SCRAM_SHA_256]),
        # Receivers need not know the names by which users log in.
        "smtpd_sasl_authenticated_header": "no",
        # Asked of authenticated clients only, so that it can fail closed and others go on.
        "smtpd_restriction_classes": ", ".join([canaryconf.CLASS, CLASS, *([PROBE_CLASS] if probe else [])]),
        CLASS: f"check_policy_service {{ unix:{paths.limits_socket}, timeout=5s, try_limit=2,"
        f" {{ default_action = {_NOT_NOW} }} }}",
        **(_probe_parameters(probe) if probe else {}),
    }


def _probe_parameters(probe: str) -> dict[str, str]:
    """That the probes' user comes as far as RCPT and no further: smtpd takes a postmaster from anybody, and what is
    taken for the one recipient would bounce to a sender of the client's choice. Canaries come from a trusted network.
    """
    return {
        PROBE_CLASS: f"check_recipient_access inline:{{{RECIPIENT}=permit}}, reject",
        "smtpd_data_restrictions": f"permit_mynetworks, check_sasl_access inline:{{{probe}=reject}},"
        " permit_sasl_authenticated, reject",
    }


def pool_options(relay_restrictions: str, sender_restrictions: str) -> tuple[str, ...]:
    """Of port 465 where other pools log in and there are no users: other clients and ports notice nothing."""
    return (
        "smtpd_sasl_auth_enable=yes",
        f"{{ smtpd_relay_restrictions = {relay_restrictions} }}",
        f"{{ smtpd_sender_restrictions = {sender_restrictions} }}",
    )


def with_door(parameters: Mapping[str, str], paths: Paths) -> dict[str, str]:
    """The same parameters, with a question at each connection before what the user's own restrictions say."""
    name = "smtpd_client_restrictions"
    door = (
        f"check_policy_service {{ unix:{paths.door_socket}, timeout=1s, try_limit=1, default_action=DUNNO }}"
    )
    return {**parameters, name: ", ".join(filter(None, (door, parameters.get(name, ""))))}


def relay_restrictions(*, users: bool, probe: str = "") -> str:
    """Who may relay, and to whom nobody but the operator may.

    ``probe``: the user that the operator's probes are. Whoever else has its password can hand in nothing with it.
    """
    who = ["permit_mynetworks"]
    who += [f"check_sasl_access inline:{{{probe}={PROBE_CLASS}}}"] if probe else []
    who += ["permit_sasl_authenticated"] if users else []
    return ", ".join([canaryconf.RESTRICTION, *who, "reject"])


def sender_restriction(*, users: bool) -> str:
    """What stands behind the other sender restrictions; empty without users."""
    return f"check_sasl_access static:{CLASS}" if users else ""
