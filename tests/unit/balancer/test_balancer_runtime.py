"""The client of HAProxy's sockets, against a socket that answers as HAProxy's manual says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from smtpfleet.balancer.runtime import ConfigurationRefusedError, Haproxy, RuntimeCallError, parse_servers

STAT = (
    "# pxname,svname,scur,status,uweight,\n"
    "relays,outbound-relay-0,3,UP,100,\n"
    "relays,outbound-relay-1,0,DOWN 1/2,30,\n"
    "relays,outbound-relay-0.unchecked,0,no check,100,\n\n"
)


@asynccontextmanager
async def answering(path: Path, answer: Callable[[str], str]) -> AsyncIterator[list[str]]:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode().strip())
        writer.write(answer(asked[-1]).encode())
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield asked


def test_servers_are_read_with_state_weight_and_sessions() -> None:
    first, second, copy = parse_servers(STAT)
    assert (first.name, first.status, first.weight, first.sessions) == ("outbound-relay-0", "UP", 100, 3)
    assert second.down
    assert not copy.down


def test_something_else_than_statistics_is_an_error_that_says_so() -> None:
    with pytest.raises(RuntimeCallError, match="cannot be read"):
        parse_servers("Permission denied\nfor you\n")


async def test_weights_go_to_the_worker_in_one_call(tmp_path: Path) -> None:
    async with answering(tmp_path / "admin", lambda _: "\n") as asked:
        await Haproxy(admin=tmp_path / "admin").set_weights({"a": 5, "b": 0})
    assert asked == ["set server relays/a weight 5; set server relays/b weight 0"]


async def test_no_change_of_weight_is_no_call(tmp_path: Path) -> None:
    await Haproxy(admin=tmp_path / "nobody").set_weights({})


async def test_a_refused_weight_is_an_error_with_haproxys_words(tmp_path: Path) -> None:
    async with answering(tmp_path / "admin", lambda _: "No such server.\n"):
        with pytest.raises(RuntimeCallError, match="No such server"):
            await Haproxy(admin=tmp_path / "admin").set_weights({"a": 5})


async def test_a_reload_that_succeeds_is_silent(tmp_path: Path) -> None:
    async with answering(tmp_path / "master", lambda _: "Success=1\n--\n[NOTICE] fine\n") as asked:
        await Haproxy(master=tmp_path / "master").reload()
    assert asked == ["reload"]


async def test_a_reload_that_fails_is_a_refusal_of_the_configuration(tmp_path: Path) -> None:
    async with answering(tmp_path / "master", lambda _: "Success=0\n--\n[ALERT] line 3: no\n"):
        with pytest.raises(ConfigurationRefusedError, match="line 3"):
            await Haproxy(master=tmp_path / "master").reload()


async def test_no_haproxy_is_an_error_that_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeCallError, match="cannot be reached") as caught:
        await Haproxy(admin=tmp_path / "nobody").servers()
    assert not isinstance(caught.value, ConfigurationRefusedError)
