"""A DKIM key as a Secret has it: looked at with the ``openssl`` command, before the signer gets it.

The agent imports no cryptography, for its memory's sake. No error of this module contains a part of a key; a key lies
in memory only, in a file of mode 0600, while it is looked at.
"""

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.api.dkim import KeyAlgorithm
from smtpfleet.relay.children import Children

SHORTEST_BITS: Final = 1024
LONGEST_BITS: Final = 4096
"""What verifiers take (RFC 8301, section 3.2)."""
_LIMIT_S: Final = 10.0
_PEM: Final = re.compile(
    r"-----BEGIN (?P<what>[A-Z ]+)-----\s+(?P<text>[A-Za-z0-9+/=\s]+?)-----END", re.DOTALL
)
_RSA: Final = re.compile(r"^(?:RSA )?Public-Key: \((\d+) bit\)$", re.MULTILINE)
_ED25519: Final = re.compile(r"^ED25519 Public-Key:$", re.MULTILINE)
_RSA_IDENTIFIER: Final = bytes.fromhex("2a864886f70d010101")
"""1.2.840.113549.1.1.1, rsaEncryption: elliptic curves have a Public-Key of so many bits as well."""


class DkimKeyError(Exception):
    """The key cannot sign; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What is published: ``record`` is the value of the TXT record."""

    algorithm: KeyAlgorithm
    bits: int
    record: str


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A key that was looked at. ``text`` is what opendkim reads from a file."""

    public: PublicKey
    text: str


def find_pem(content: Mapping[str, bytes], *, domain: str, selector: str) -> bytes:
    """The key in a Secret: cert-manager's name first, then opendkim-genkey's, then docker-postfix's.

    Raises:
        DkimKeyError: there is none.
    """
    names = ("tls.key", f"{selector}.private", f"{domain}.private")
    for name in names:
        if content.get(name):
            return content[name]
    raise DkimKeyError(f"it has none of the keys {', '.join(names)}")


async def examine(pem: bytes, *, children: Children, directory: Path) -> PrivateKey:
    """Look at a private key.

    Args:
        pem: as found in the Secret.
        children: runs openssl.
        directory: in memory, closed to others.

    Raises:
        DkimKeyError: the key cannot sign.
        OSError: openssl cannot be run, or the directory cannot be written.
    """
    if b"ENCRYPTED" in pem:
        raise DkimKeyError("the key is encrypted: store it without a password")
    file = directory / ".examined"
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(pem)
    command = ["openssl", "pkey", "-in", str(file), "-passin", "pass:"]
    try:
        public = await children.run([*command, "-pubout", "-text_pub"], limit_s=_LIMIT_S)
        private = await children.run(command, limit_s=_LIMIT_S)
    finally:
        file.unlink()
    if public.code or private.code:
        raise DkimKeyError("it is no private key in PEM form")
    described = public_key(public.output)
    return PrivateKey(described, _for_signer(private.output, described.algorithm))


def public_key(output: str) -> PublicKey:
    """What ``openssl pkey -pubout -text_pub`` says, as DKIM publishes it.

    Raises:
        DkimKeyError: DKIM has no such keys, or receivers refuse them.
    """
    encoded = _body(output)
    structure = base64.b64decode(encoded)
    if _ED25519.search(output):
        # RFC 8463, section 4: the 32 bytes of the key itself, which end the structure.
        return PublicKey(
            KeyAlgorithm.ED25519, 256, f"v=DKIM1; k=ed25519; p={base64.b64encode(structure[-32:]).decode()}"
        )
    size = _RSA.search(output)
    if size is None or _RSA_IDENTIFIER not in structure[:40]:
        raise DkimKeyError("it is neither an RSA nor an Ed25519 key: DKIM knows no others")
    bits = int(size[1])
    if bits < SHORTEST_BITS:
        raise DkimKeyError(
            f"the key has {bits} bits, and receivers refuse less than {SHORTEST_BITS}: use 2048"
        )
    if bits > LONGEST_BITS:
        raise DkimKeyError(
            f"the key has {bits} bits, and receivers need not take more than {LONGEST_BITS}: use 2048"
        )
    return PublicKey(KeyAlgorithm.RSA, bits, f"v=DKIM1; k=rsa; p={encoded}")


def _for_signer(pem: str, algorithm: KeyAlgorithm) -> str:
    """An RSA key as base64 of its DER: opendkim decodes its key for each message. Of Ed25519 keys it knows PEM only."""
    return _body(pem) if algorithm is KeyAlgorithm.RSA else pem.strip() + "\n"


def _body(output: str) -> str:
    found = _PEM.search(output)
    if found is None:
        raise DkimKeyError("it is no private key in PEM form")
    return "".join(found["text"].split())
