"""Which main.cf parameters belong to the operator, so that ``relay.postfix`` cannot undo its guarantees.

A parameter is owned for one of three reasons: it decides who may relay (an open relay or a smuggled message must not be
expressible), it runs commands or moves files (the pod's boundary), or the agent sets it from another field.
Source: postconf(5).
"""

import re
from typing import Final

NAME_PATTERN: Final = "[a-z][a-z0-9_]{0,63}"
"""Form of a main.cf parameter's name: nothing in it can end the line or start another."""

OWNED: Final = frozenset(
    """
    alias_database alias_maps alternate_config_directories authorized_flush_users authorized_mailq_users
    authorized_submit_users authorized_verp_clients bounce_queue_lifetime command_directory
    compatibility_level config_directory content_filter daemon_directory data_directory debugger_command
    default_privs default_transport defer_transports enable_long_queue_ids export_environment
    fallback_transport forward_path hash_queue_depth hash_queue_names import_environment inet_interfaces
    inet_protocols info_log_address_format local_recipient_maps local_transport mail_owner mail_spool_directory
    mailbox_command mailbox_command_maps maillog_file maillog_file_compressor maillog_file_prefixes mailq_path
    manpage_directory master_service_disable maximal_queue_lifetime message_size_limit meta_directory
    milter_default_action mydestination myhostname mynetworks mynetworks_style newaliases_path
    non_smtpd_milters process_id_directory proxy_interfaces queue_directory queue_minfree
    receive_override_options relay_domains relay_transport relayhost
    sender_dependent_default_transport_maps sender_dependent_relayhost_maps sendmail_path setgid_group
    shlib_directory smtp_helo_name smtpfleet_canary smtpfleet_probes smtpfleet_users
    smtpd_authorized_verp_clients smtpd_authorized_xclient_hosts
    smtpd_authorized_xforward_hosts smtpd_command_filter
    smtpd_delay_open_until_valid_rcpt smtpd_delay_reject smtpd_end_of_data_restrictions
    smtpd_forbid_bare_newline smtpd_forbid_bare_newline_exclusions smtpd_forbid_unauth_pipelining
    smtpd_milter_maps smtpd_milters smtpd_policy_service_default_action smtpd_proxy_filter
    smtpd_relay_restrictions smtpd_restriction_classes smtpd_sender_restrictions
    smtpd_upstream_proxy_protocol smtpd_upstream_proxy_timeout stress syslog_name transport_maps
    virtual_alias_domains virtual_alias_maps virtual_mailbox_domains virtual_mailbox_maps
    virtual_transport
    default_destination_concurrency_limit relay_destination_concurrency_limit
    smtp_destination_concurrency_limit
    empty_address_default_transport_maps_lookup_key smtpd_reject_unlisted_recipient
    allow_percent_hack cleanup_replace_stray_cr_lf message_reject_characters message_strip_characters
    smtpd_data_restrictions smtpd_etrn_restrictions swap_bangpath
    """.split()
)

OWNED_PREFIXES: Final = (
    "multi_instance",
    "smtpd_sasl_",
    "smtpd_tls_",
    "smtp_sasl_",
    "lmtp_",
    "postscreen_",
    "qmqpd_",
)

LEADS_ELSEWHERE: Final = frozenset(
    """
    always_bcc body_checks canonical_maps header_checks recipient_bcc_maps recipient_canonical_maps sender_bcc_maps
    """.split()
)
"""Copies messages, or gives them other recipients, before their transport is looked up (checks: BCC, REDIRECT, FILTER).
Whether a table does so to a canary cannot be known here, so where one of these is set there are no canaries.
"""


def is_owned(parameter: str) -> bool:
    """Whether the operator sets this main.cf parameter itself and refuses it in ``relay.postfix``."""
    return parameter in OWNED or parameter.startswith(OWNED_PREFIXES)


def is_parameter_name(parameter: str) -> bool:
    """Whether this can be the name of a main.cf parameter."""
    return re.fullmatch(NAME_PATTERN, parameter) is not None
