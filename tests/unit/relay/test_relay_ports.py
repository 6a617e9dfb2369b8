"""What the agent answers to balancers and to smtpd, on real sockets of this machine."""

import asyncio
import os
from pathlib import Path

import pytest

from smtpfleet.relay import agentcheck, policy
from smtpfleet.relay.agentcheck import Polls
from smtpfleet.relay.policy import GO_ON, LEAVE, Client, decide, parse

ALICE = Client("10.1.2.3", "40000")
BOB = Client("10.1.2.4", "40000")
OWNER = (os.getuid(), os.getgid())


def test_nobody_polls_means_nobody_has_to_be_told() -> None:
    assert Polls().told(now_s=100.0)


def test_a_balancer_that_heard_ready_is_not_told_yet() -> None:
    polls = Polls()
    polls.record(("10.0.0.1", b""), at_s=1.0, drain=True)
    polls.record(("10.0.0.2", b""), at_s=1.1, drain=False)
    assert not polls.told(now_s=1.2)


def test_whoever_polls_is_heard_by_its_address() -> None:
    heard: list[str] = []
    Polls(heard.append).record(("10.0.0.1", b"twin"), at_s=1.0, drain=False)
    assert heard == ["10.0.0.1"]


def test_every_balancer_that_heard_drain_is_told() -> None:
    polls = Polls()
    polls.record(("10.0.0.1", b""), at_s=1.0, drain=False)
    polls.record(("10.0.0.1", b""), at_s=1.25, drain=True)
    assert polls.told(now_s=1.3)


def test_a_balancer_that_no_longer_polls_is_not_waited_for() -> None:
    polls = Polls()
    polls.record(("10.0.0.1", b""), at_s=1.0, drain=False)
    assert not polls.told(now_s=2.9)
    assert polls.told(now_s=3.0)


def test_a_haproxy_whose_twin_heard_drain_is_not_told_by_that() -> None:
    polls = Polls()
    polls.record(("10.0.0.1", b"8081"), at_s=1.0, drain=False)
    polls.record(("10.0.0.1", b"8082"), at_s=1.25, drain=True)
    assert not polls.told(now_s=1.3)
    polls.record(("10.0.0.1", b"8081"), at_s=1.9, drain=True)
    assert polls.told(now_s=2.0)


@pytest.mark.parametrize("name", [b"8081\n", b""], ids=["named", "of an earlier release"])
@pytest.mark.parametrize(("draining", "line"), [(False, b"ready\n"), (True, b"drain\n")])
async def test_a_poll_is_answered_with_one_line(draining: bool, line: bytes, name: bytes) -> None:
    polls = Polls()
    server = await agentcheck.serve(
        port=0, host="127.0.0.1", draining=lambda: draining, polls=polls, clock=lambda: 5.0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(name)
        assert await reader.read() == line
        writer.close()
    assert polls.told(now_s=5.0) is draining


@pytest.mark.parametrize("client", [ALICE, BOB])
def test_all_messages_go_on_while_the_relay_serves(client: Client) -> None:
    assert decide(client, ALICE, draining=False) == GO_ON


def test_the_first_message_of_a_session_is_taken_even_while_draining() -> None:
    assert decide(ALICE, None, draining=True) == GO_ON
    assert decide(ALICE, BOB, draining=True) == GO_ON


def test_a_session_is_sent_away_before_its_second_message() -> None:
    assert decide(ALICE, ALICE, draining=True) == LEAVE


def test_another_session_from_the_same_address_is_another_session() -> None:
    assert decide(Client(ALICE.address, "40001"), ALICE, draining=True) == GO_ON


def test_the_client_is_found_among_the_attributes() -> None:
    request = (
        b"request=smtpd_access_policy\nhelo_name=client_address=x\nclient_address=10.1.2.3\nclient_port=40000"
    )
    assert parse(request) == ALICE


async def test_smtpd_is_answered_request_by_request(tmp_path: Path) -> None:
    draining = False
    server = await policy.serve(tmp_path / "socket", draining=lambda: draining, owner=OWNER)
    request = b"request=smtpd_access_policy\nclient_address=10.1.2.3\nclient_port=40000\n\n"
    async with server:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
        answers = []
        for draining in (False, True, True):  # noqa: B007 - the server looks at it
            writer.write(request[:30])
            await writer.drain()
            writer.write(request[30:])
            answers.append(await reader.readuntil(b"\n\n"))
        writer.close()
    assert answers == [b"action=DUNNO\n\n", *[f"action={LEAVE}\n\n".encode()] * 2]


async def test_a_request_without_end_closes_the_connection(tmp_path: Path) -> None:
    server = await policy.serve(tmp_path / "socket", draining=lambda: False, owner=OWNER)
    async with server:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
        writer.write(b"x=" + b"y" * 100_000)
        assert await reader.read() == b""
        writer.close()


async def test_a_socket_that_was_left_behind_is_replaced_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.touch()
    server = await policy.serve(path, draining=lambda: False, owner=OWNER)
    async with server:
        assert path.stat().st_mode & 0o777 == 0o600
