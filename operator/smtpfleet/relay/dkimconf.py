"""What the signers are to do, and their files: pure functions of the pool's keys.

Guarantees: mail of a domain that is listed leaves signed or not at all; of the keys of one domain and algorithm the
first that can be used signs; a domain none of whose keys can be used is refused for now (451), alone.

opendkim has one algorithm a process (2.11 beta; a field of the KeyTable for it came later), so there are up to two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.api.dkim import KeyAlgorithm, record_name

SIGNED_HEADERS: Final = (
    *("From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "In-Reply-To", "References"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID", "Content-Description"),
    *("Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID"),
    *("List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post"),
    *("List-Owner", "List-Archive"),
)
"""RFC 6376, section 5.4.1, with Message-ID, and the headers of one-click unsubscription (RFC 8058, section 4)."""
_ALGORITHMS: Final = {KeyAlgorithm.RSA: "rsa-sha256", KeyAlgorithm.ED25519: "ed25519-sha256"}
_ABSENT: Final = "absent"
"""Name of a key file that never exists: opendkim answers 451 to what it would have to sign with it."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """An entry of the list.

    Attributes:
        algorithm: of the key that is there; None: there is none that can be used.
        unicode_domain: the other form of an internationalised domain; else empty.
    """

    domain: str
    selector: str
    algorithm: KeyAlgorithm | None
    unicode_domain: str = ""

    @property
    def name(self) -> str:
        """Its record's name: names the key in opendkim's tables, and its file."""
        return record_name(self.domain, self.selector)

    @property
    def spellings(self) -> tuple[str, ...]:
        """Forms of the domain that From: may have."""
        return tuple(filter(None, (self.domain, self.unicode_domain)))


@dataclass(frozen=True, slots=True)
class Duties:
    """What one signer signs with, one key a domain, and which domains it refuses for now, in each spelling."""

    signing: tuple[KnownKey, ...] = ()
    refused: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether this signer is needed."""
        return bool(self.signing or self.refused)


def duties(keys: Sequence[KnownKey]) -> dict[KeyAlgorithm, Duties]:
    """Who signs what.

    A domain that lacks a key is signed with what is there, if that is RSA, which every receiver verifies; else it is
    refused, for many receivers take a signature by Ed25519 alone for none.
    """
    signing: dict[KeyAlgorithm, dict[str, KnownKey]] = {algorithm: {} for algorithm in KeyAlgorithm}
    for key in keys:
        if key.algorithm is not None:
            signing[key.algorithm].setdefault(key.domain, key)
    lacking = {key.domain for key in keys if key.algorithm is None} - signing[KeyAlgorithm.RSA].keys()
    refused = {
        KeyAlgorithm.RSA: tuple(
            sorted({spelling for key in keys if key.domain in lacking for spelling in key.spellings})
        )
    }
    return {
        algorithm: Duties(tuple(by_domain.values()), refused.get(algorithm, ()))
        for algorithm, by_domain in signing.items()
    }


def signs(key: KnownKey, wanted: dict[KeyAlgorithm, Duties]) -> bool:
    """Whether mail is signed with this key."""
    return key.algorithm is not None and key in wanted[key.algorithm].signing


def signing_table(wanted: Duties) -> str:
    """Which key signs for which domain of the From: header; the internationalised form counts as well."""
    lines = [(domain, key.name) for key in wanted.signing for domain in key.spellings]
    lines += [(domain, _ABSENT) for domain in wanted.refused]
    return "".join(f"*@{domain} {name}\n" for domain, name in lines)


def key_table(wanted: Duties, keys: Path) -> str:
    """Where the keys are: each in a file of its record's name."""
    lines = [f"{key.name} {key.domain}:{key.selector}:{keys / key.name}\n" for key in wanted.signing]
    # The domain of a refused message is no matter, for it is never signed.
    return "".join([*lines, f"{_ABSENT} invalid:{_ABSENT}:{keys / _ABSENT}\n"])


def configuration(algorithm: KeyAlgorithm, *, socket: Path, signing: Path, keys: Path) -> str:
    """opendkim.conf(5) of one signer.

    relaxed/relaxed survives what hosts on the way do to spaces. From is signed once more than it is there, so that
    nobody adds another; other headers are not, because a later host may add a Date, a To or a Message-ID that lacks.
    No l= and no x=: a signature covers the whole body, and no queue is too slow for it.
    """
    settings = {
        "Mode": "s",
        "SignatureAlgorithm": _ALGORITHMS[algorithm],
        "Canonicalization": "relaxed/relaxed",
        "SignHeaders": ",".join(SIGNED_HEADERS),
        "OversignHeaders": "From",
        "SigningTable": f"refile:{signing}",
        "KeyTable": f"file:{keys}",
        # Whoever may hand in mail is Postfix's to decide.
        "InternalHosts": "0.0.0.0/0,::/0",
        "Socket": f"local:{socket}",
        "UMask": "007",
        "On-Default": "tempfail",
        # Checked at each message, with mail refused for it; the agent has made files and directories itself.
        "RequireSafeKeys": "no",
        "Background": "no",
        "AutoRestart": "no",
        "Syslog": "yes",
        "SyslogSuccess": "yes",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())
