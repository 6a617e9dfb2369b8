"""``submission.allowedSenderDomains``: which envelope senders are taken, at MAIL, from everybody and on every port.

Guarantees: what decides is the domain of the address as Postfix resolved it, the one that it would send with: source
routes are gone, quotes are gone, ``user%a@b`` and ``a!user`` have their domain at the end; a sender without a
domain has the one that Postfix completes it with; the empty sender of bounces and receipts is always taken (RFC 5321,
4.5.5); a table that matches nothing refuses.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_REFUSED: Final = "553 5.7.1 this server does not take mail from senders of this domain"


def restriction(domains: Sequence[str]) -> str:
    """An entry of ``smtpd_sender_restrictions``; empty if every sender is taken.

    It only ever refuses: restrictions that follow are asked, too. The table is one of regular expressions
    (regexp_table(5): POSIX extended, case does not matter), because other tables are also asked for parent domains and
    local parts.
    """
    if not domains:
        return ""
    patterns = [r"^<>$$", *(_pattern(domain) for domain in _spellings(domains))]
    rules = [f"{{ /{pattern}/ DUNNO }}" for pattern in patterns]
    return f"check_sender_access regexp:{{ {', '.join(rules)}, {{ /^/ {_REFUSED} }} }}"


def _pattern(domain: str) -> str:
    """How the sender ends: a domain has no @, so what stands here is the last one. main.cf wants ``$`` doubled."""
    escaped = domain.lstrip(".").replace(".", r"\.")
    return rf"@[^@]*\.{escaped}$$" if domain.startswith(".") else f"@{escaped}$$"


def _spellings(domains: Iterable[str]) -> Iterator[str]:
    """An internationalised domain may come as ASCII or, with SMTPUTF8, in its own script."""
    for domain in domains:
        yield domain.lower()
        if "xn--" in domain.lower():
            yield from _own_script(domain.lower())


def _own_script(domain: str) -> Iterator[str]:
    dot, name = ("." if domain.startswith(".") else ""), domain.lstrip(".")
    try:
        yield dot + name.encode("ascii").decode("idna")
    except UnicodeError:
        return  # no name that anybody could have registered; as ASCII it is still compared
