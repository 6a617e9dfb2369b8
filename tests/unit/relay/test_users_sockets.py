"""The two sockets at which Postfix asks, as they stand in the pod's file system."""

import asyncio
import base64
import os
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from smtpfleet.relay.policy import GO_ON, LEAVE, serve
from smtpfleet.relay.settings import Paths
from smtpfleet.relay.users.book import UserBook
from smtpfleet.relay.users.limits import GONE, NOT_THEIRS
from smtpfleet.relay.users.pools import seal
from smtpfleet.relay.users.service import Users
from tests.unit.relay import known
from tests.unit.relay.goldens import table

OWNER = (os.getuid(), os.getgid())
WANTED = table(users="users")


class Known:
    """A Secret that is known."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self._content = content

    def get(self, name: str) -> dict[str, bytes]:
        return self._content

    def missing(self, name: str) -> bool:
        return False

    def error(self, name: str) -> str:
        return ""


async def asked(path: Path, *requests: str) -> list[str]:
    """What a policy service answers on one connection."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write("".join(f"{request}\n\n" for request in requests).encode())
    answers = [(await reader.readuntil(b"\n\n")).decode().strip().removeprefix("action=") for _ in requests]
    writer.close()
    return answers


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(run=tmp_path)


async def users(secret: bytes) -> Users:
    book = UserBook()
    made = Users(book, Known(dict(await book.seal({"alice": secret}))), lambda: None)
    made.update(WANTED)
    return made


async def test_only_postfix_may_ask(paths: Paths) -> None:
    async with AsyncExitStack() as stack:
        await (await users(b"secret")).serve(paths, stack, owner=OWNER)
        for path in (paths.auth_socket, paths.limits_socket):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert (path.stat().st_uid, path.stat().st_gid) == OWNER


async def logged_in(paths: Paths, user: str, password: str) -> bytes:
    """What smtpd is told of a log-in by PLAIN."""
    reader, writer = await asyncio.open_unix_connection(paths.auth_socket)
    while (line := await reader.readline()) != b"DONE\n":
        assert line
    response = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    writer.write(
        f"VERSION\t1\t0\nCPID\t1\nAUTH\t1\tPLAIN\tsecured\trip=192.0.2.1\tresp={response}\n".encode()
    )
    answer = await reader.readline()
    writer.close()
    return answer


async def test_a_user_logs_in_and_is_held_to_his_limits(paths: Paths) -> None:
    served = await users(b"secret\nsenders: alice@example.com")
    async with AsyncExitStack() as stack:
        await served.serve(paths, stack, owner=OWNER)
        assert await logged_in(paths, "alice", "secret") == b"OK\t1\tuser=alice\n"
        answers = await asked(
            paths.limits_socket,
            "sasl_username=alice\nsender=alice@example.com",
            "sasl_username=alice\nsender=bob@example.com",
            "sasl_username=bob\nsender=bob@example.com",
        )
    assert answers == [GO_ON, NOT_THEIRS, GONE]
    assert served.logins == {"accepted": 1}


async def test_what_may_be_offered_stays_while_the_users_are_not_known(paths: Paths) -> None:
    served = await users(b"secret")
    assert served.scram
    served.update(WANTED)
    assert served.scram


async def test_a_long_session_is_sent_away_while_the_relay_drains(tmp_path: Path) -> None:
    draining = False
    server = await serve(tmp_path / "policy.sock", draining=lambda: draining, owner=OWNER)
    client, other = "client_address=192.0.2.1\nclient_port=1", "client_address=192.0.2.1\nclient_port=2"
    assert await asked(tmp_path / "policy.sock", client, client) == [GO_ON, GO_ON]
    draining = True
    assert await asked(tmp_path / "policy.sock", client, client, other) == [GO_ON, LEAVE, GO_ON]
    server.close()


async def test_probes_log_in_once_their_secret_is_known_and_are_not_counted(paths: Paths) -> None:
    secrets = known.Known({"users": await UserBook().seal({"alice": b"secret"})})
    served = Users(UserBook(), secrets, lambda: WANTED)
    served.update(WANTED)
    assert not served.probe_login
    secrets.contents["outbound-probe"] = await seal({"password": b"word of the probe"})
    served.update(WANTED)
    assert served.probe_login
    async with AsyncExitStack() as stack:
        await served.serve(paths, stack, owner=OWNER)
        assert (
            await logged_in(paths, "probe;outbound", "word of the probe") == b"OK\t1\tuser=probe;outbound\n"
        )
        assert await asked(paths.limits_socket, "sasl_username=probe;outbound\nsender=") == [GO_ON]
    assert served.logins == {}
    without = table()
    served.update(without)
    assert not served.probe_login
