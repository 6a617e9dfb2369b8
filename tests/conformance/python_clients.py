"""Submits one message with a Python library, as its documentation does it: settings as JSON on standard input."""

import asyncio
import json
import smtplib
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosmtplib

from tests.conformance.features import Feature


@dataclass(frozen=True)
class _Options:
    mail: list[str]
    rcpt: list[str]

    @classmethod
    def of(cls, feature: str) -> "_Options":
        match feature:
            case Feature.EIGHT_BIT:
                return cls(["BODY=8BITMIME"], [])
            case Feature.SMTPUTF8:
                return cls(["BODY=8BITMIME", "SMTPUTF8"], [])
            case Feature.DSN:
                return cls(["RET=HDRS", "ENVID=conformance"], ["NOTIFY=SUCCESS,FAILURE"])
            case _:
                return cls([], [])


def with_smtplib(given: dict[str, Any], content: bytes) -> None:
    context = ssl.create_default_context(cafile=given["ca"] or None)
    kind = smtplib.SMTP_SSL if given["security"] == "implicit" else smtplib.SMTP
    extra: dict[str, Any] = {"context": context} if given["security"] == "implicit" else {}
    with kind(given["host"], given["port"], timeout=60, **extra) as client:
        if given["security"] == "starttls":
            client.starttls(context=context)
        if given["user"]:
            client.user, client.password = given["user"], given["password"]
            client.auth(given["mechanism"], getattr(client, f"auth_{given['mechanism'].lower()}"))
        options = _Options.of(given["feature"])
        client.sendmail(given["sender"], given["recipients"], content, options.mail, options.rcpt)


async def with_aiosmtplib(given: dict[str, Any], content: bytes) -> None:
    client = aiosmtplib.SMTP(
        hostname=given["host"],
        port=given["port"],
        use_tls=given["security"] == "implicit",
        start_tls=given["security"] == "starttls",
        tls_context=ssl.create_default_context(cafile=given["ca"] or None),
        timeout=60,
    )
    async with client:
        if given["user"]:
            log_in = getattr(client, f"auth_{given['mechanism'].lower()}")
            await log_in(given["user"], given["password"])
        options = _Options.of(given["feature"])
        await client.sendmail(
            given["sender"],
            given["recipients"],
            content,
            mail_options=options.mail,
            rcpt_options=options.rcpt,
        )


def main() -> int:
    given = json.loads(sys.stdin.read())
    content = Path(given["message"]).read_bytes()
    if sys.argv[1] == "smtplib":
        with_smtplib(given, content)
    else:
        asyncio.run(with_aiosmtplib(given, content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
