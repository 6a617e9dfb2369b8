"""A client that submits under TLS, run inside the cluster's network: ``python -m tests.cluster.tls_client``.

Prints one JSON line: the certificate that was served, and what became of each message; with ``--hold`` first a line
``open``, and goes on when it reads a line, so that a test can change things under an open session.
"""

import argparse
import base64
import hashlib
import json
import smtplib
import ssl
import sys
import time
from dataclasses import replace
from uuid import uuid4

from mailcheck.jsonl import encode_attempt
from mailcheck.message import Composer, Message, MessageShape
from mailcheck.model import Attempt, Outcome, Stage
from mailcheck.sasl import Credentials, Mechanism, command, exchange, parse_credentials

TIMEOUT_S = 20.0


def main() -> int:
    """Connect, send, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=("plain", "starttls", "implicit"))
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--login", help="NAME:PASSWORD")
    parser.add_argument("--mechanism", type=Mechanism, default=Mechanism.PLAIN)
    parser.add_argument("--sender", default=MessageShape().sender)
    parser.add_argument("--recipient", help="instead of the message's own")
    given = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _connected(given.way, given.host, given.port, context) as client:
        client.ehlo_or_helo_if_needed()
        offered = client.esmtp_features.get("auth", "").split()
        login = _log_in(client, parse_credentials(given.login, given.mechanism)) if given.login else 0
        if given.hold:
            sys.stdout.write("open\n")
            sys.stdout.flush()
            sys.stdin.readline()
        target, composer = (
            f"{given.host}:{given.port}",
            Composer(MessageShape(sender=given.sender), run=uuid4().hex, date=time.time()),
        )
        messages = [composer.compose(number) for number in range(given.count)]
        if given.recipient:
            messages = [replace(message, recipients=(given.recipient,)) for message in messages]
        attempts = [_submit(client, message, target) for message in messages]
        told = {
            "certificate": _fingerprint(client),
            "attempts": [*map(encode_attempt, attempts)],
            "offered": offered,
            "login": login,
        }
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _connected(way: str, host: str, port: int, context: ssl.SSLContext) -> smtplib.SMTP:
    if way == "implicit":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
    client = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    if way == "starttls":
        client.starttls(context=context)
    return client


def _log_in(client: smtplib.SMTP, credentials: Credentials) -> int:
    """The code of the reply that decided, written out here so that the test sees what Postfix says."""
    steps = exchange(credentials)
    code, text = client.docmd(command(next(steps), credentials.mechanism))
    while code == 334:
        response = steps.send(base64.b64decode(text))
        code, text = client.docmd(base64.b64encode(response or b"").decode())
    return code


def _fingerprint(client: smtplib.SMTP) -> str:
    """SHA-256 of the certificate that the session is under; empty without TLS."""
    encoded = client.sock.getpeercert(binary_form=True) if isinstance(client.sock, ssl.SSLSocket) else None
    return hashlib.sha256(encoded).hexdigest() if encoded else ""


def _submit(client: smtplib.SMTP, message: Message, target: str) -> Attempt:
    start = time.time()
    client.ehlo_or_helo_if_needed()
    code, stage = client.mail(message.sender)[0], Stage.MAIL
    if code == 250:
        code, stage = client.rcpt(message.recipients[0])[0], Stage.RCPT
    if code == 250:
        client.putcmd("data")
        code, stage = client.getreply()[0], Stage.DATA
    if code == 354:
        client.send(message.wire)
        code, stage = client.getreply()[0], Stage.END_OF_DATA
    taken = code == 250 and stage is Stage.END_OF_DATA
    return Attempt(
        id=message.id,
        digest=message.digest,
        recipients=message.recipients,
        planned=start,
        start=start,
        end=time.time(),
        outcome=Outcome.ACKNOWLEDGED if taken else Outcome.REJECTED,
        stage=stage,
        code=code,
        target=target,
    )


if __name__ == "__main__":
    sys.exit(main())
