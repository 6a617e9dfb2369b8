"""Attempts to relay from where nobody is trusted, and the answer to each that docs/security.md shows.

``HOST`` stands for the pool's own name, ``TRUSTED`` for an address that the pool trusts.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mailcheck.proxy_header import encode_proxy_header
from scenario.conversation import Conversation, Step, line
from smtpfleet.api import names

MAIL: Final = "MAIL FROM:<s@example.com>"
RCPT: Final = "RCPT TO:<r@example.net>"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """``lines`` are said after EHLO, one by one; ``codes`` are the answers to them.

    After them DATA is tried. A shorter list of answers means that the relay ended the session.
    """

    title: str
    lines: tuple[str, ...]
    codes: tuple[str, ...]

    def steps(self, host: str, trusted: str) -> tuple[Step, ...]:
        """What is sent."""
        said = [text.replace("HOST", host).replace("TRUSTED", trusted) for text in self.lines]
        return (*map(line, said), line("DATA"))


def _rcpt(title: str, recipient: str, code: str = "554") -> Attempt:
    return Attempt(title=title, lines=(MAIL, f"RCPT TO:{recipient}"), codes=("250", code))


def _mail(title: str, sender: str, *codes: str) -> Attempt:
    return Attempt(title=title, lines=(f"MAIL FROM:{sender}", RCPT), codes=codes or ("250", "554"))


ATTEMPTS: Final = (
    _rcpt("a recipient elsewhere", "<r@example.net>"),
    _rcpt("a recipient at the pool's own name", "<r@HOST>"),
    # RFC 5321 4.5.1 has it taken by servers with mailboxes, and smtpd takes it whatever the restrictions for RCPT say.
    Attempt(
        title="`postmaster` without a domain, with DATA",
        lines=(MAIL, "RCPT TO:<postmaster>"),
        codes=("250", "250"),
    ),
    Attempt(
        title="`postmaster` without a domain, with BDAT",
        lines=(MAIL, "RCPT TO:<Postmaster>", "BDAT 0 LAST"),
        codes=("250", "250", "554"),
    ),
    _rcpt("a recipient without a domain", "<r>"),
    _rcpt("percent hack", "<r%example.net@HOST>"),
    _rcpt("percent hack without a domain", "<r%example.net>"),
    _rcpt("bang path", "<example.net!r@HOST>"),
    _rcpt("bang path without a domain", "<example.net!r>"),
    _rcpt("source route", "<@HOST:r@example.net>"),
    _rcpt("source route over two hosts", "<@example.org,@HOST:r@example.net>"),
    _rcpt("quoted local part with an address in it", '<"r@example.net"@HOST>'),
    _rcpt("quoted local part without a domain", '<"r@example.net">'),
    _rcpt("`user@domain@host`", "<r@example.net@HOST>"),
    _rcpt("`user@domain@[ip]`", "<r@example.net@[TRUSTED]>"),
    _rcpt("address literal", "<r@[TRUSTED]>"),
    _rcpt("address literal of the loopback", "<r@[127.0.0.1]>"),
    _rcpt("no angle brackets", "r@example.net"),
    _rcpt("two pairs of brackets", "<<r@example.net>>"),
    _mail("sender at the pool's own name", "<admin@HOST>"),
    _mail("sender at a trusted address", "<admin@[TRUSTED]>"),
    _mail("null sender", "<>"),
    _mail("`AUTH=` of another user", "<s@example.com> AUTH=admin@HOST"),
    Attempt(
        title="ORCPT with an encoded line end",
        lines=(MAIL, f"{RCPT} ORCPT=rfc822;r+0D+0ARCPT+20TO:<x@example.net>"),
        codes=("250", "554"),
    ),
    Attempt(
        title="ENVID with an encoded line end",
        lines=("MAIL FROM:<s@example.com> ENVID=x+0D+0ARCPT+20TO:<x@example.net>", RCPT),
        codes=("501", "503"),
    ),
    Attempt(
        title="a second command after a CR",
        lines=(MAIL, "RCPT TO:<postmaster>\rRCPT TO:<r@example.net>"),
        codes=("250", "555"),
    ),
    Attempt(title="EHLO as a trusted address", lines=("EHLO [TRUSTED]", MAIL, RCPT), codes=("250", "250", "554")),
    Attempt(title="EHLO as `localhost`", lines=("EHLO localhost", MAIL, RCPT), codes=("250", "250", "554")),
    Attempt(
        title="`XCLIENT` as a trusted address",
        lines=("XCLIENT ADDR=TRUSTED NAME=localhost", MAIL, RCPT),
        codes=("550", "250", "554"),
    ),
    Attempt(
        title="`XFORWARD` as a trusted address",
        lines=("XFORWARD ADDR=TRUSTED NAME=localhost", MAIL, RCPT),
        codes=("550", "250", "554"),
    ),
    Attempt(
        title="a PROXY header of one's own, after EHLO",
        lines=("PROXY TCP4 TRUSTED TRUSTED 40000 25", MAIL, RCPT),
        codes=("500", "250", "554"),
    ),
    Attempt(title="`ETRN`", lines=("ETRN example.net", MAIL, RCPT), codes=("554", "250", "554")),
    Attempt(title="`VRFY`", lines=("VRFY postmaster", MAIL, RCPT), codes=("502", "250", "554")),
    Attempt(title="`EXPN`", lines=("EXPN postmaster", MAIL, RCPT), codes=("500", "250", "554")),
    Attempt(title="`BDAT` without a recipient", lines=(MAIL, "BDAT 0 LAST"), codes=("250", "554")),
    Attempt(title="`BDAT` after a refused recipient", lines=(MAIL, RCPT, "BDAT 0 LAST"), codes=("250", "554", "554")),
)  # fmt: skip

_LOCAL: Final = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
CUT: Final = "cut"
_STRANGER: Final = "192.0.2.1"


@dataclass(frozen=True, kw_only=True)
class Direct:
    """A session with a relay itself, behind the balancers' back. ``header`` comes before all else."""

    title: str
    header: bytes
    answer: str

    def conversation(self, host: str, port: int) -> Conversation:
        """It tries to hand in a message, under TLS where a pool with users wants it."""
        tls = Step(tls=True, replies=0)
        opening: Mapping[int, tuple[Step, ...]] = {
            names.SMTP_PORT: (Step(),),
            names.SUBMISSION_PORT: (Step(), line("EHLO x"), line("STARTTLS"), tls),
            names.SUBMISSIONS_PORT: (tls, Step()),
        }
        return Conversation(
            name=f"{self.title} | {port}",
            host=host,
            port=port,
            steps=(
                Step(send=self.header, replies=0),
                *opening[port],
                *map(line, ("EHLO x", MAIL, RCPT, "DATA")),
            ),
        )  # fmt: skip


def direct(trusted: str) -> tuple[Direct, ...]:
    """Sessions that Postfix refuses by itself. A header that names ``trusted`` is not among them: docs/security.md."""
    stranger = encode_proxy_header((_STRANGER, 40000), (trusted, 25))
    return (
        Direct(title="no PROXY header", header=b"EHLO x\r\n", answer=CUT),
        Direct(title="a PROXY header that names a stranger", header=stranger, answer="554"),
        Direct(
            title="the same, version 1",
            header=f"PROXY TCP4 {_STRANGER} {trusted} 40000 25\r\n".encode(),
            answer="554",
        ),
        Direct(title="a PROXY header `LOCAL`, which names nobody", header=_LOCAL, answer="554"),
        Direct(title="a PROXY header that is cut off", header=stranger[:20], answer=CUT),
        Direct(
            title="a stranger's header followed by a trusted one",
            header=stranger + encode_proxy_header((trusted, 40000), (trusted, 25)),
            answer=CUT,
        ),
    )


def own_address(target: str) -> str:
    """From which address this host would talk to ``target``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((target, 9))
        return str(probe.getsockname()[0])
