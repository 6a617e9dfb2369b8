"""The client of HAProxy's sockets, against a socket that answers as HAProxy's manual says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from smtpfleet.balancer.runtime import (
    ConfigurationRefusedError,
    Haproxy,
    Haproxys,
    RuntimeCallError,
    merged,
    parse_servers,
)

HELLO = "show proc; quit"
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


def haproxy(directory: Path, name: str = "") -> Haproxy:
    return Haproxy(admin=directory / f"admin{name}", master=directory / f"master{name}")


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
        await haproxy(tmp_path).set_weights({"a": 5, "b": 0})
    assert asked == ["set server relays/a weight 5; set server relays/b weight 0"]


async def test_no_change_of_weight_is_no_call(tmp_path: Path) -> None:
    await haproxy(tmp_path).set_weights({})


async def test_a_refused_weight_is_an_error_with_haproxys_words(tmp_path: Path) -> None:
    async with answering(tmp_path / "admin", lambda _: "No such server.\n"):
        with pytest.raises(RuntimeCallError, match="No such server"):
            await haproxy(tmp_path).set_weights({"a": 5})


async def test_a_reload_that_succeeds_is_silent(tmp_path: Path) -> None:
    async with answering(tmp_path / "master", lambda _: "Success=1\n--\n[NOTICE] fine\n") as asked:
        await haproxy(tmp_path).reload()
    assert asked == [HELLO, "reload"]


async def test_a_reload_that_fails_is_a_refusal_of_the_configuration(tmp_path: Path) -> None:
    async with answering(tmp_path / "master", lambda _: "Success=0\n--\n[ALERT] line 3: no\n"):
        with pytest.raises(ConfigurationRefusedError, match="line 3"):
            await haproxy(tmp_path).reload()


@pytest.mark.parametrize("said", ["", "[NOTICE] Reloading\n"])
async def test_a_master_that_ends_before_it_has_answered_has_refused_nothing(
    tmp_path: Path, said: str
) -> None:
    async with answering(tmp_path / "master", lambda command: "" if command == HELLO else said):
        with pytest.raises(RuntimeCallError, match="did not say") as caught:
            await haproxy(tmp_path).reload()
    assert not isinstance(caught.value, ConfigurationRefusedError)


async def test_no_haproxy_is_an_error_that_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeCallError, match="cannot be reached") as caught:
        await haproxy(tmp_path).servers()
    assert not isinstance(caught.value, ConfigurationRefusedError)


def test_two_views_are_one_row_a_server_with_the_sessions_of_both() -> None:
    other = STAT.replace("outbound-relay-0,3,UP", "outbound-relay-0,4,DOWN")
    first, second, copy = merged([parse_servers(STAT), parse_servers(other)])
    assert (first.name, first.sessions, first.down) == ("outbound-relay-0", 7, True)
    assert second.down
    assert not copy.down


async def test_one_haproxy_that_is_being_started_hides_nothing_of_the_other(tmp_path: Path) -> None:
    both = Haproxys([haproxy(tmp_path, "1"), haproxy(tmp_path, "2")])
    async with answering(tmp_path / "admin2", lambda _: STAT):
        assert await both.servers() == parse_servers(STAT)


async def test_no_haproxy_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeCallError, match="cannot be reached"):
        await Haproxys([haproxy(tmp_path, "1"), haproxy(tmp_path, "2")]).servers()


async def test_weights_and_reloads_go_to_both(tmp_path: Path) -> None:
    both = Haproxys([haproxy(tmp_path, "1"), haproxy(tmp_path, "2")])
    asked: dict[str, list[str]] = {}
    async with (
        answering(tmp_path / "admin1", lambda _: "\n") as asked["admin1"],
        answering(tmp_path / "admin2", lambda _: "\n") as asked["admin2"],
        answering(tmp_path / "master1", lambda _: "Success=1\n") as asked["master1"],
        answering(tmp_path / "master2", lambda _: "Success=1\n") as asked["master2"],
    ):
        await both.set_weights({"a": 5})
        await both.reload("text")
    assert asked["admin1"] == asked["admin2"] == ["set server relays/a weight 5"]
    assert asked["master1"] == asked["master2"] == [HELLO, "reload"]


async def test_a_file_that_the_first_refuses_is_not_given_to_the_second(tmp_path: Path) -> None:
    both = Haproxys([haproxy(tmp_path, "1"), haproxy(tmp_path, "2")])
    async with (
        answering(tmp_path / "master1", lambda _: "Success=0\n"),
        answering(tmp_path / "master2", lambda _: "Success=1\n") as second,
    ):
        with pytest.raises(ConfigurationRefusedError):
            await both.reload("text")
    assert second == []


@pytest.mark.parametrize("away", ["1", "2"])
async def test_one_haproxy_that_is_away_keeps_neither_weights_nor_a_reload_from_the_other(
    tmp_path: Path, away: str
) -> None:
    both, here = Haproxys([haproxy(tmp_path, "1"), haproxy(tmp_path, "2")]), "2" if away == "1" else "1"
    async with (
        answering(tmp_path / f"admin{here}", lambda _: "\n") as weights,
        answering(tmp_path / f"master{here}", lambda _: "Success=1\n") as reloads,
    ):
        with pytest.raises(RuntimeCallError, match="cannot be reached"):
            await both.set_weights({"a": 5})
        with pytest.raises(RuntimeCallError, match="cannot be reached"):
            await both.reload("text")
    assert weights == ["set server relays/a weight 5"]
    assert reloads == [HELLO, "reload"]


@dataclass(frozen=True, slots=True)
class Played(Haproxy):
    """Notes what it is told; what is in ``failing`` is how its reloads end."""

    calls: list[str] = field(default_factory=list, compare=False)
    failing: list[RuntimeCallError] = field(default_factory=list, compare=False)

    async def set_weights(self, weights: dict[str, int]) -> None:
        self.calls.append("weights")

    async def reload(self) -> None:
        self.calls.append("reload")
        for failure in self.failing:
            raise failure


def pair() -> tuple[Played, Played, Haproxys]:
    first, second = (Played(Path(f"admin{name}"), Path(f"master{name}")) for name in "12")
    return first, second, Haproxys([first, second])


@pytest.mark.looptime
async def test_a_reload_that_is_tried_again_is_for_those_only_that_did_not_get_it() -> None:
    first, second, both = pair()
    first.failing.append(RuntimeCallError("away"))
    for _ in range(3):
        with pytest.raises(RuntimeCallError, match="away"):
            await both.reload("text")
    first.failing.clear()
    await both.reload("text")
    assert (first.calls, second.calls) == (["reload"] * 4, ["reload"])


@pytest.mark.looptime
async def test_another_text_and_a_text_that_weights_came_after_are_for_all() -> None:
    first, second, both = pair()
    second.failing.append(RuntimeCallError("away"))
    for text in ("a", "b"):
        with pytest.raises(RuntimeCallError):
            await both.reload(text)
    await both.set_weights({"a": 5})
    with pytest.raises(RuntimeCallError):
        await both.reload("b")
    assert first.calls == ["reload", "reload", "weights", "reload"]


@pytest.mark.looptime
async def test_a_text_that_one_refused_is_for_all_again_because_they_may_have_started_with_another() -> None:
    first, second, both = pair()
    second.failing.append(ConfigurationRefusedError("no"))
    with pytest.raises(ConfigurationRefusedError):
        await both.reload("text")
    second.failing.clear()
    await both.reload("text")
    assert first.calls == second.calls == ["reload", "reload"]


@pytest.mark.looptime
async def test_of_two_failures_the_first_is_told() -> None:
    first, second, both = pair()
    first.failing.append(RuntimeCallError("one"))
    second.failing.append(RuntimeCallError("two"))
    with pytest.raises(RuntimeCallError, match="one"):
        await both.reload("text")
