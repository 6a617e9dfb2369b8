"""The clients, what each of them offers, and the command that submits one message with it."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.conformance.features import Feature

HERE: Final = Path(__file__).resolve().parent
JAVA_CLASSES: Final = HERE / "java" / "target"
GO_PROGRAM: Final = HERE.parents[1] / "build" / "conformance-go"


class Security(StrEnum):
    """How TLS begins."""

    CLEAR = "clear"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


PORTS: Final = {25: Security.CLEAR, 587: Security.STARTTLS, 465: Security.IMPLICIT}
"""How each port of a pool is used here. Port 25 offers STARTTLS as well."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One message to submit. ``ca`` is a file, all that a client is told to trust; ``host`` is the name it verifies.

    With a ``user`` the client logs in, by ``mechanism`` and no other.
    """

    host: str
    port: int
    security: Security
    ca: str
    sender: str
    recipients: tuple[str, ...]
    message: str
    feature: Feature
    user: str = ""
    password: str = ""
    mechanism: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program with its arguments and its standard input (a file if it begins with ``@``)."""

    argv: tuple[str, ...]
    stdin: str = ""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client.

    Attributes:
        program: what must be on the PATH.
        packages: of Debian, that have it; none where the project brings or builds it.
        heavy: only for ``make conformance``.
        lacks: extensions that it does not use, each with what happens instead.
        adds_line_end: it ends every message with one more, so it is given its messages without the last one.
    """

    name: str
    title: str
    program: str
    packages: tuple[str, ...] = ()
    heavy: bool = False
    lacks: Mapping[Feature, str] = field(default_factory=dict)
    adds_line_end: bool = False
    command: Callable[[Submission], Command]


def _json(*argv: str) -> Callable[[Submission], Command]:
    return lambda given: Command(argv=argv, stdin=json.dumps(asdict(given)))


def _swaks(given: Submission) -> Command:
    tls = {Security.CLEAR: (), Security.STARTTLS: ("--tls",), Security.IMPLICIT: ("--tls-on-connect",)}
    trust = () if given.security is Security.CLEAR else ("--tls-verify", "--tls-ca-path", given.ca)
    user = ("--auth", given.mechanism, "--auth-user", given.user, "--auth-password", given.password)
    return Command(
        argv=(
            "swaks", "--silent", "1", "--server", given.host, "--port", str(given.port),
            *tls[given.security], *trust, *(user if given.user else ()),
            *(("--pipeline",) if given.feature is Feature.PIPELINING else ()),
            "--from", given.sender, "--to", ",".join(given.recipients), "--data", f"@{given.message}",
        )
    )  # fmt: skip


def _msmtp(given: Submission) -> Command:
    tls = {
        Security.CLEAR: ("--tls=off",),
        Security.STARTTLS: ("--tls=on", "--tls-starttls=on", f"--tls-trust-file={given.ca}"),
        Security.IMPLICIT: ("--tls=on", "--tls-starttls=off", f"--tls-trust-file={given.ca}"),
    }
    dsn = ("--dsn-notify=success,failure", "--dsn-return=headers")
    user = (
        f"--auth={given.mechanism.lower()}",
        f"--user={given.user}",
        f"--passwordeval=printf %s '{given.password}'",
    )
    return Command(
        argv=(
            "msmtp", f"--host={given.host}", f"--port={given.port}", *tls[given.security],
            *(dsn if given.feature is Feature.DSN else ()), *(user if given.user else ("--auth=off",)),
            f"--from={given.sender}", "--", *given.recipients,
        ),
        stdin=f"@{given.message}",
    )  # fmt: skip


def _curl(given: Submission) -> Command:
    scheme = "smtps" if given.security is Security.IMPLICIT else "smtp"
    tls = () if given.security is Security.CLEAR else ("--ssl-reqd", "--cacert", given.ca)
    login = ("--user", f"{given.user}:{given.password}", "--login-options", f"AUTH={given.mechanism}")
    user = login if given.user else ()
    recipients = [word for recipient in given.recipients for word in ("--mail-rcpt", recipient)]
    return Command(
        argv=(
            "curl", "--silent", "--show-error", f"{scheme}://{given.host}:{given.port}", *tls, *user,
            "--mail-from", given.sender, *recipients, "--upload-file", given.message,
        )
    )  # fmt: skip


def _jakarta(given: Submission) -> Command:
    words = {**asdict(given), "recipients": ",".join(given.recipients)}
    classes = f"{JAVA_CLASSES}/classes:{JAVA_CLASSES}/dependency/*"
    settings = tuple(f"{name}={value}" for name, value in words.items())
    # Short-lived programs are quicker without the second compiler and with one thread of garbage collection.
    fast = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Dfile.encoding=UTF-8")
    return Command(argv=("java", *fast, "-cp", classes, "conformance.Send", *settings))


_UNDECLARED: Final = "sends 8-bit text undeclared; it arrives unchanged"
_NO_CHUNKING: Final = {Feature.CHUNKING: "sends DATA"}
_NO_PIPELINING: Final = {Feature.PIPELINING: "waits for each reply"}
_NO_SCRAM: Final = {Feature.SCRAM: "does not know it"}
_PYTHON: Final = (sys.executable, "-m", "tests.conformance.python_clients")

CLIENTS: Final = (
    Client(
        name="swaks",
        title="swaks",
        program="swaks",
        packages=("swaks", "libnet-ssleay-perl"),
        adds_line_end=True,
        lacks={
            Feature.EIGHT_BIT: _UNDECLARED,
            Feature.SMTPUTF8: "no option for it",
            Feature.DSN: "no option for it",
        }
        | _NO_CHUNKING
        | _NO_SCRAM,
        command=_swaks,
    ),
    Client(
        name="smtplib",
        title="Python smtplib",
        program=sys.executable,
        lacks=_NO_PIPELINING | _NO_CHUNKING | _NO_SCRAM,
        command=_json(*_PYTHON, "smtplib"),
    ),
    Client(
        name="aiosmtplib",
        title="aiosmtplib",
        program=sys.executable,
        lacks=_NO_PIPELINING | _NO_CHUNKING | _NO_SCRAM,
        command=_json(*_PYTHON, "aiosmtplib"),
    ),
    Client(
        name="go",
        title="Go net/smtp",
        program="go",
        packages=("golang-go",),
        lacks={Feature.DSN: "no option for it", Feature.LOGIN: "does not know it"}
        | _NO_PIPELINING
        | _NO_CHUNKING
        | _NO_SCRAM,
        command=_json(str(GO_PROGRAM)),
    ),
    Client(
        name="msmtp",
        title="msmtp",
        program="msmtp",
        packages=("msmtp",),
        lacks={
            Feature.EIGHT_BIT: _UNDECLARED,
            Feature.SMTPUTF8: "sends addresses in UTF-8 without declaring it",
        }
        | _NO_CHUNKING,
        command=_msmtp,
    ),
    Client(
        name="curl",
        title="curl",
        program="curl",
        packages=("curl",),
        lacks={
            Feature.EIGHT_BIT: _UNDECLARED,
            Feature.DSN: "no option for it",
        }
        | _NO_PIPELINING
        | _NO_CHUNKING
        | {Feature.SCRAM: "only where it was built with GNU SASL, which Debian does not do"},
        command=_curl,
    ),
    Client(
        name="nodemailer",
        title="Nodemailer",
        program="node",
        packages=("nodejs", "npm"),
        heavy=True,
        lacks=_NO_CHUNKING | _NO_SCRAM,
        command=_json("node", str(HERE / "node" / "send.mjs")),
    ),
    Client(
        name="jakarta",
        title="Jakarta Mail (Angus)",
        program="java",
        packages=("default-jdk-headless", "maven"),
        heavy=True,
        lacks={Feature.EIGHT_BIT: "declares only what it converted itself; 8-bit text arrives unchanged"}
        | _NO_PIPELINING
        | _NO_SCRAM,
        command=_jakarta,
    ),
)
