"""The commands ``sink``, ``generate`` and ``check``."""

import argparse
import asyncio
import json
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mailcheck.checker import check
from mailcheck.closed_loop import closed_loop
from mailcheck.dialogue import ClientOptions, Timeouts, Tls
from mailcheck.errors import MailcheckError
from mailcheck.generator import generate
from mailcheck.jsonl import encode_attempt, read_arrivals, read_attempts
from mailcheck.message import MessageShape
from mailcheck.model import Attempt
from mailcheck.report import render_load, render_run
from mailcheck.sasl import Mechanism, parse_credentials
from mailcheck.sink.security import TlsFiles
from mailcheck.sink.server import SinkSettings, run_sink
from mailcheck.submit import Load
from mailcheck.targets import Choice, parse_host_port
from mailcheck.timeline import Fault


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 if mail is unaccounted for, 2 if nothing could be measured."""
    arguments = _parser().parse_args(argv)
    commands = {"sink": _sink, "generate": _generate, "check": _check}
    try:
        return commands[arguments.command](arguments)
    except MailcheckError as error:
        print(f"mailcheck: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailcheck", description="Mail accounting: nothing acknowledged may be lost."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_sink(commands.add_parser("sink", help="receive mail and record every arrival"))
    _add_generate(commands.add_parser("generate", help="hand in mail and note what became of each message"))
    _add_check(commands.add_parser("check", help="compare what was handed in with what arrived"))
    return parser


def _add_sink(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", required=True, metavar="ADDR:PORT", help="SMTP; port 0: any free one")
    parser.add_argument("--control", required=True, metavar="ADDR:PORT", help="HTTP; unprotected")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="append arrivals as JSON lines; default: memory only"
    )
    parser.add_argument("--hostname", default="sink.mailcheck.invalid", help="in banner and EHLO reply")
    parser.add_argument(
        "--tls",
        nargs=2,
        type=Path,
        metavar=("CERTIFICATE", "KEY"),
        help="offer STARTTLS with these PEM files",
    )
    parser.add_argument(
        "--users",
        type=Path,
        metavar="FILE",
        help="take mail only after AUTH of one of these name:password lines",
    )
    parser.add_argument("--size-limit", type=int, default=64 * 1024 * 1024, metavar="BYTES")
    parser.add_argument(
        "--keep", type=int, default=0, metavar="N", help="the last N small messages as they came"
    )


def _add_generate(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--target", metavar="HOST:PORT")
    where.add_argument("--targets", metavar="HOST:PORT,…", help="several; see --choice")
    parser.add_argument("--choice", type=Choice, choices=list(Choice), default=Choice.ROUND_ROBIN)
    pace = parser.add_argument_group("pace")
    pace.add_argument("--rate", type=float, metavar="R", help="open loop: messages per second")
    pace.add_argument(
        "--count", type=int, metavar="N", help="open loop: messages, or fewer where SIGTERM comes first"
    )
    pace.add_argument(
        "--closed", type=int, metavar="C", help="closed loop: so many clients, each as fast as it is answered"
    )
    pace.add_argument("--seconds", type=float, metavar="S", help="closed loop: for so long")
    pace.add_argument(
        "--reuse",
        type=int,
        default=0,
        metavar="N",
        help="keep N connections (closed loop: any N, one a client)",
    )
    shape = parser.add_argument_group("messages")
    shape.add_argument("--size", type=int, default=2000, metavar="BYTES")
    shape.add_argument("--recipients", type=int, default=1, metavar="N", help="of each message")
    shape.add_argument("--eight-bit", action="store_true", help="8BITMIME body")
    shape.add_argument("--smtputf8", action="store_true", help="non-ASCII addresses and subject as well")
    shape.add_argument(
        "--sender", default="sender@example.com", help="envelope sender; '' for the null sender"
    )
    shape.add_argument("--domains", default="example.net", metavar="D,…", help="recipient domains, in turn")
    client = parser.add_argument_group("client")
    client.add_argument("--pipelining", action="store_true")
    client.add_argument(
        "--proxy-header", nargs="?", const="", metavar="ADDR", help="PROXY v2 first, as from this client"
    )
    client.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="for each step; no retry follows"
    )
    client.add_argument("--helo", default="client.mailcheck.invalid")
    client.add_argument(
        "--tls", type=Tls, choices=list(Tls), default=Tls.NONE, help="any certificate is taken"
    )
    client.add_argument("--login", metavar="NAME:PASSWORD", help="AUTH on each connection")
    client.add_argument("--mechanism", type=Mechanism, choices=list(Mechanism), default=Mechanism.PLAIN)
    parser.add_argument("--run", default="", help="beginning of all Message-IDs; default: random")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="attempts as JSON lines; default: standard output"
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("attempts", type=Path)
    parser.add_argument("arrivals", type=Path)
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="TIME=NAME",
        help="mark a moment (seconds since the epoch); may be repeated",
    )


def _sink(arguments: argparse.Namespace) -> int:

    _raise_descriptor_limit()
    settings = SinkSettings(
        listen=parse_host_port(arguments.listen),
        control=parse_host_port(arguments.control),
        record_path=arguments.record,
        hostname=arguments.hostname,
        size_limit_bytes=arguments.size_limit,
        tls=TlsFiles(*arguments.tls) if arguments.tls else None,
        users_path=arguments.users,
        keep=arguments.keep,
    )
    asyncio.run(_serve_until_stopped(settings))
    return 0


async def _serve_until_stopped(settings: SinkSettings) -> None:

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # as PID 1 of a container nothing else would end it
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with run_sink(settings) as sink:
        print(json.dumps({"smtp": sink.smtp_port, "control": sink.control_port}), flush=True)
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((stopped, sink.failed), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if sink.failed.done():
            sink.failed.result()


def _generate(arguments: argparse.Namespace) -> int:

    _raise_descriptor_limit()
    attempts = asyncio.run(_run_load(arguments, _load(arguments)))
    _write_attempts(attempts, arguments.output)
    print(render_load(attempts), file=sys.stderr if arguments.output is None else sys.stdout)
    return 0


async def _run_load(arguments: argparse.Namespace, load: Load) -> Sequence[Attempt]:

    if arguments.closed is not None:
        if arguments.seconds is None or arguments.rate is not None or arguments.count is not None:
            raise MailcheckError("--closed goes with --seconds, not with --rate or --count")
        result = await closed_loop(
            load, clients=arguments.closed, seconds=arguments.seconds, reuse=arguments.reuse > 0
        )
        print(f"{result.accepted_per_s:.1f} accepted per second by {result.clients} clients", file=sys.stderr)
        return result.attempts
    if arguments.rate is None or arguments.count is None or arguments.seconds is not None:
        raise MailcheckError("give --rate and --count, or --closed and --seconds")
    enough = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, enough.set)
    return await generate(
        load, rate=arguments.rate, count=arguments.count, reuse=arguments.reuse, enough=enough
    )


def _load(arguments: argparse.Namespace) -> Load:

    return Load(
        targets=tuple((arguments.target or arguments.targets).split(",")),
        choice=arguments.choice,
        shape=MessageShape(
            size_bytes=arguments.size,
            recipients=arguments.recipients,
            eight_bit=arguments.eight_bit,
            smtputf8=arguments.smtputf8,
            sender=arguments.sender,
            domains=tuple(arguments.domains.split(",")),
        ),
        client=ClientOptions(
            helo=arguments.helo,
            pipelining=arguments.pipelining,
            proxy_header=arguments.proxy_header is not None,
            proxy_source=arguments.proxy_header or "",
            tls=arguments.tls,
            credentials=parse_credentials(arguments.login, arguments.mechanism) if arguments.login else None,
            timeouts=Timeouts.uniform(arguments.timeout),
        ),
        run=arguments.run,
    )


def _write_attempts(attempts: Sequence[Attempt], path: Path | None) -> None:

    text = "".join(encode_attempt(attempt) + "\n" for attempt in attempts)
    if path is None:
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, "ascii")
    except OSError as error:
        raise MailcheckError(f"cannot write {path}: {error}") from error


def _check(arguments: argparse.Namespace) -> int:

    faults = []
    for text in arguments.fault:
        moment, _, name = text.partition("=")
        try:
            faults.append(Fault(name=name or "fault", time=float(moment)))
        except ValueError as error:
            raise MailcheckError(f"--fault {text!r} is not TIME=NAME") from error
    attempts, arrivals = read_attempts(arguments.attempts), read_arrivals(arguments.arrivals)
    verdict = check(attempts, arrivals)
    print(render_run(verdict, attempts, arrivals, faults))
    return 0 if verdict.ok else 1


def _raise_descriptor_limit() -> None:
    """As many open sockets as the system allows: a hung target holds a rate's worth of them for each second."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
