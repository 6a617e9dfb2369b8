"""``submission.allowedSenderDomains``: which envelope senders are taken, at MAIL, from everybody and on every port.

Guarantees: what decides is the domain of the address as Postfix resolved it, the one that it would send with: source
routes are gone, quotes are gone, ``user%a@b`` and ``a!user`` have their domain at the end; a sender without a
domain has the one that Postfix completes it with; the empty sender of bounces and receipts is always taken (RFC 5321,
4.5.5); a table that matches nothing refuses.
"""

from collections.abc import Sequence
from typing import Final

from smtpfleet.relay.routemaps import pattern

_REFUSED: Final = "553 5.7.1 this server does not take mail from senders of this domain"


def restriction(domains: Sequence[str]) -> str:
    """An entry of ``smtpd_sender_restrictions``; empty if every sender is taken.

    An internationalised domain may come as ASCII or, with SMTPUTF8, in its own script: ``domains`` has both forms.
    It only ever refuses: restrictions that follow are asked, too. The table is one of regular expressions
    (regexp_table(5): POSIX extended, case does not matter), because other tables are also asked for parent domains and
    local parts.
    """
    if not domains:
        return ""
    # How the sender ends: a domain has no @, so what stands here is the last one. main.cf wants ``$`` doubled.
    patterns = ["^<>$", *map(pattern, domains)]
    rules = [f"{{ /{each.replace('$', '$$')}/ DUNNO }}" for each in patterns]
    return f"check_sender_access regexp:{{ {', '.join(rules)}, {{ /^/ {_REFUSED} }} }}"
