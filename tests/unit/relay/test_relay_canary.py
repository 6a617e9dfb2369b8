"""Where canaries come back to: an LMTP server that takes everything and remembers canaries."""

import asyncio
import hashlib
import os
import re
from pathlib import Path

import pytest

from smtpfleet.api.agent_status import Canary
from smtpfleet.api.probes import CANARY, canary_clients
from smtpfleet.relay import canaryconf
from smtpfleet.relay.canary import KEPT, Canaries, serve
from smtpfleet.relay.queuescan import arrival_s
from smtpfleet.relay.settings import Paths
from tests.unit.relay.goldens import CONFIGURATIONS

ID = "0123456789abcdef" * 2
QUEUE_ID = "4SZ3kB2FLMzGpW1"
BODY = b"first\r\n.dot\r\n\r\n..\r\nlast\r\n"


def message(id_: str = ID, body: bytes = BODY) -> bytes:
    return (
        f"Received: from probe (unknown [10.0.0.0])\r\n\tby r (Postfix) with ESMTPS id {QUEUE_ID}\r\n"
        f"\tfor <{CANARY}>; Thu, 26 Nov 2026 10:00:00 +0000 (UTC)\r\n"
        f"From: <{CANARY}>\r\nMessage-ID: <{id_}@canary.smtpfleet.invalid>\r\n\r\n"
    ).encode() + body


def _known(*, later_s: float = 2.5) -> Canaries:
    arrived = arrival_s(QUEUE_ID)
    assert arrived is not None
    return Canaries(clock=lambda: 7.0, now=lambda: arrived + later_s)


def test_a_canary_is_remembered_by_its_id_its_digest_and_its_time_in_the_queue() -> None:
    canaries = _known()
    canaries.take(message())
    digest = hashlib.sha256(BODY).hexdigest()
    assert canaries.status().returned == (Canary(id=ID, digest=digest, queue_s=2.5),)


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"Subject: no header\r\n",
        message().replace(b"canary.smtpfleet", b"example"),
        message("z" * 32),
        b"Subject: x\r\n\r\n" + message(),
    ],
)
def test_other_messages_are_forgotten(other: bytes) -> None:
    canaries = _known()
    canaries.take(other)
    assert canaries.status().returned == ()


def test_only_the_last_are_kept_the_newest_first() -> None:
    canaries = _known()
    for number in range(KEPT + 3):
        canaries.take(message(f"{number:032x}"))
    assert [int(each.id, 16) for each in canaries.status().returned] == list(range(KEPT + 2, 2, -1))


async def _converse(path: Path, *said: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    heard = await reader.readline()
    for each in said:
        writer.write(each)
        await writer.drain()
        await asyncio.sleep(0)
    writer.write(b"QUIT\r\n")
    heard += await reader.read()
    writer.close()
    return heard


ENVELOPE = (b"LHLO r\r\n", b"MAIL FROM:<>\r\n", f"RCPT TO:<{CANARY}>\r\n".encode(), b"DATA\r\n")


async def test_postfix_is_answered_and_content_is_read_as_it_was_written(tmp_path: Path) -> None:
    canaries = _known()
    server = await serve(tmp_path / "s", canaries, owner=(os.getuid(), os.getgid()))
    stuffed = re.sub(rb"(?m)^\.", b"..", message())
    whole = stuffed + b".\r\n"
    heard = await _converse(tmp_path / "s", *ENVELOPE, *(whole[i : i + 7] for i in range(0, len(whole), 7)))
    codes = [line[:3] for line in heard.decode().splitlines()]
    assert codes == ["220", "250", "250", "250", "250", "354", "250", "221"]
    assert canaries.status().returned[0].digest == hashlib.sha256(BODY).hexdigest()
    server.close()


async def test_each_recipient_is_answered_and_what_is_no_canary_is_taken_as_well(tmp_path: Path) -> None:
    canaries = _known()
    server = await serve(tmp_path / "s", canaries, owner=(os.getuid(), os.getgid()))
    large = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 100_000
    two = (*ENVELOPE[:3], ENVELOPE[2], ENVELOPE[3], large + b".\r\n")
    empty = (*ENVELOPE[1:], b".\r\n")
    heard = await _converse(tmp_path / "s", *two, *empty, b"WHAT\r\n", b"RSET\r\n", b"DATA\r\n")
    codes = [line[:3] for line in heard.decode().splitlines()]
    assert codes[6:9] == ["354", "250", "250"]
    assert codes[9:] == ["250", "250", "354", "250", "503", "250", "503", "221"]
    assert canaries.status().returned == ()
    server.close()


def test_only_the_probes_own_addresses_may_send_canaries() -> None:
    assert canaryconf.clients(canary_clients(["10.0.0.0/8", "fd00::/64"])) == (
        "check_client_access inline:{{10.0.0.0 = OK}, {fd00:: = OK}}, reject"
    )
    assert canaryconf.clients(canary_clients(["192.168.1.7/32"])) == "reject"
    assert canaryconf.clients(canary_clients([])) == "reject"


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if not name.startswith("rehearsal")])
def test_the_canarys_way_comes_before_every_route_and_its_rule_before_every_permission(name: str) -> None:
    lines = CONFIGURATIONS[name]().main_cf.splitlines()
    values = dict(line.partition(" = ")[::2] for line in lines if " = " in line)
    assert values["transport_maps"].startswith(canaryconf.route(Paths()))
    assert values["smtpd_relay_restrictions"].startswith(canaryconf.RESTRICTION)
    assert values[canaryconf.CLASS].endswith("reject")
    assert values["smtpd_restriction_classes"].startswith(canaryconf.CLASS)
