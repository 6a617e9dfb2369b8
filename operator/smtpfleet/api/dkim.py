"""``spec.dkim``: the keys that sign mail, by domain and selector (RFC 6376, RFC 8463).

The list says it all: every key in it is published in the status; of the keys of one domain and algorithm the first one
signs; an RSA and an Ed25519 key of one domain both sign.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from smtpfleet.api.values import ApiModel, SecretName, matching, rule, rules

MAX_KEYS: Final = 32
_LABEL: Final = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = f"{_LABEL}([.]{_LABEL})+"
_SELECTOR: Final = f"{_LABEL}([.]{_LABEL})*"
_NO_DOMAIN: Final = (
    "not a domain to sign for: write it in lower case, such as example.com"
    " (an internationalised one in its xn-- form)"
)
_NO_SELECTOR: Final = (
    "not a selector: write lower-case letters, digits, hyphens and dots, such as s1 or 2026-11"
)
_RECORD_INFIX: Final = "._domainkey."


class KeyAlgorithm(StrEnum):
    """Algorithms of DKIM keys."""

    RSA = "RSA"
    ED25519 = "Ed25519"


SigningDomain = Annotated[str, *matching(_DOMAIN, _NO_DOMAIN, longest=177)]
"""A DNS name in lower case. So short that with the longest selector the record's name still is one."""

Selector = Annotated[str, *matching(_SELECTOR, _NO_SELECTOR, longest=63)]
"""A selector in lower case: DNS does not tell cases apart, and nor do names of Secrets."""


class DkimKey(ApiModel):
    """One key."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            rule(
                "self.secretName == '' || !has(self.algorithm)",
                "algorithm is for keys that the operator makes: leave it out, the key in the Secret has its own",
                field_path=".algorithm",
            )
        )
    }

    domain: SigningDomain = Field(
        description="Domain of the From: header whose mail is signed, and of the signature (d=). Subdomains are"
        " signed only if they are listed themselves."
    )
    selector: Selector = Field(description="Name of the key below <selector>._domainkey.<domain> (s=).")
    secret_name: SecretName = Field(
        default="",
        description="Secret in the pool's namespace with the private key (PEM) in tls.key, <selector>.private or"
        " <domain>.private; changes are live. Empty: the operator makes a key, and keeps it.",
    )
    algorithm: KeyAlgorithm | None = Field(
        default=None, description="Of a key that the operator makes: RSA (2048 bits, if left out) or Ed25519."
    )

    @property
    def made_as(self) -> KeyAlgorithm:
        """What the operator makes, if it makes the key."""
        return self.algorithm or KeyAlgorithm.RSA


def record_name(domain: str, selector: str) -> str:
    """Name of the TXT record with the public key, without the final dot."""
    return f"{selector}{_RECORD_INFIX}{domain}"


SAME_KEY: Final = "a.domain == b.domain && a.selector == b.selector"
DKIM_RULES: Final = rules(
    rule(
        f"self.all(a, self.exists_one(b, {SAME_KEY}))",
        "two keys of one domain and selector: give the second one another selector, such as s2",
    )
)
KEEPS_ALGORITHM: Final = rule(
    "self.dkim.all(a, a.secretName != '' || !oldSelf.dkim.exists(b, b.secretName == '' && "
    f"{SAME_KEY} && (has(a.algorithm) ? a.algorithm : 'RSA') != (has(b.algorithm) ? b.algorithm : 'RSA')))",
    "the algorithm of a key that the operator has made cannot change, for its record is published:"
    " add a key with another selector",
    field_path=".dkim",
)
"""Stands at the spec: entries of a list have no former selves."""
