"""The command line of ``kubectl smtp``."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from smtpfleet.api.names import GROUP, PLURAL
from smtpfleet.api.status import DkimEntry
from smtpfleet.cli.zone import zone_lines

_LIMIT_S: Final = 60


class CommandError(Exception):
    """What the user asked for cannot be done; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        sys.stdout.write(_dns(arguments))
    except CommandError as error:
        print(f"kubectl smtp: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kubectl smtp", description="Pools of SMTP relays.")
    commands = parser.add_subparsers(dest="command", required=True)
    dns = commands.add_parser("dns", help="the DNS records to publish for a pool's DKIM keys")
    dns.add_argument("pool")
    dns.add_argument("-n", "--namespace", default="", help="default: the context's")
    dns.add_argument("--context", default="", help="of kubectl")
    dns.add_argument("-o", "--output", choices=("zone", "json"), default="zone")
    return parser


def _dns(arguments: argparse.Namespace) -> str:
    status = _pool(arguments).get("status") or {}
    try:
        entries = [DkimEntry.model_validate(entry) for entry in status.get("dkim", ())]
    except ValidationError as error:
        raise CommandError(f"the pool's status is of another release: {error}") from error
    if arguments.output == "json":
        return (
            json.dumps([entry.model_dump(mode="json", by_alias=True) for entry in entries], indent=2) + "\n"
        )
    return zone_lines(entries) or f"; pool {arguments.pool} has no DKIM keys: list them in spec.dkim\n"


def _pool(arguments: argparse.Namespace) -> dict[str, Any]:
    options = [
        f"--{name}={value}"
        for name, value in (("namespace", arguments.namespace), ("context", arguments.context))
        if value
    ]
    command = ["kubectl", "get", f"{PLURAL}.{GROUP}", arguments.pool, "-o", "json", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    except FileNotFoundError:
        raise CommandError("kubectl is not in the PATH") from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"kubectl did not answer within {_LIMIT_S} s") from None
    if done.returncode:
        raise CommandError(done.stderr.strip() or "kubectl failed")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
