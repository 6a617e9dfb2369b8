"""The generator's pace and connections, against sinks in this process."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from mailcheck.checker import check
from mailcheck.closed_loop import closed_loop
from mailcheck.dialogue import ClientOptions
from mailcheck.generator import generate
from mailcheck.model import Attempt, Outcome, Stage
from mailcheck.sink.mode import Kind, Mode
from mailcheck.targets import Choice
from tests.unit.mailcheck.peers import arrivals, load, one, peer, sink, until_dot


async def test_many_messages_are_accounted_for_one_by_one() -> None:
    seen: list[Attempt] = []
    async with sink() as (running, target):
        attempts = await generate(load(target), rate=2000, count=300, on_attempt=seen.append)
        assert check(attempts, arrivals(running)).ok
        assert Counter(seen) == Counter(attempts)
        assert running.record.counters["connections"] == 300
    steps = [later.planned - earlier.planned for earlier, later in pairwise(attempts)]
    assert steps == pytest.approx([1 / 2000] * 299, abs=1e-5)


async def test_what_was_begun_ends_and_nothing_is_begun_once_it_is_enough() -> None:
    enough = asyncio.Event()

    def tell(attempt: Attempt) -> None:
        enough.set()

    async with sink() as (running, target):
        attempts = await generate(load(target), rate=1000, count=10_000, on_attempt=tell, enough=enough)
        assert check(attempts, arrivals(running)).ok
    assert 1 <= len(attempts) < 10_000
    assert all(attempt.acknowledged for attempt in attempts)


@pytest.mark.parametrize("keep", [1, 3])
async def test_kept_connections_carry_all_messages(keep: int) -> None:
    async with sink() as (running, target):
        attempts = await generate(load(target), rate=2000, count=200, reuse=keep)
        assert check(attempts, arrivals(running)).ok
        assert running.record.counters["connections"] == keep


async def test_kept_connections_are_all_used_even_if_one_would_do() -> None:
    async with sink() as (running, target):
        await generate(load(target), rate=100, count=6, reuse=3)
        assert running.record.counters["connections"] == 3


async def test_a_kept_connection_that_the_server_ended_is_replaced_without_an_error() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_dot(reader, writer)
        writer.write(b"250 taken\r\n421 enough for one connection\r\n")
        writer.close()

    async with peer(script) as target:
        attempts = await generate(load(target), rate=1000, count=5, reuse=1)
    assert all(a.acknowledged for a in attempts)


async def test_a_share_of_refusals_strikes_exactly_that_share() -> None:
    async with sink() as (running, target):
        running.modes.set(Mode(kind=Kind.TEMPFAIL, stage=Stage.DATA, share=0.3))
        attempts = await generate(load(target), rate=2000, count=100)
        outcomes = Counter(a.outcome for a in attempts)
        assert outcomes == {Outcome.ACKNOWLEDGED: 70, Outcome.REJECTED: 30}
        assert check(attempts, arrivals(running)).ok


async def test_several_targets_take_turns() -> None:
    async with sink() as (one_sink, first), sink() as (other_sink, second):
        attempts = await generate(load(first, second), rate=2000, count=50)
        assert Counter(a.target for a in attempts) == {first: 25, second: 25}
        assert check(attempts, arrivals(one_sink) + arrivals(other_sink)).ok


async def test_a_random_choice_is_the_injected_one() -> None:
    async with sink() as (_, first), sink() as (_, second):
        both = replace(load(first, second), choice=Choice.RANDOM)
        attempts = await generate(both, rate=2000, count=50, rng=random.Random(1))
    rng = random.Random(1)
    chosen = sorted(attempts, key=lambda a: a.id)
    assert Counter(a.target for a in chosen) == Counter(rng.choice((first, second)) for _ in range(50))


@pytest.mark.parametrize("source", ["", "203.0.113.7"])
async def test_the_proxy_header_comes_first_and_names_the_client(source: str) -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readexactly(28))
        await until_dot(reader, writer)
        writer.write(b"250 taken\r\n")

    async with peer(script) as target:
        attempt = await one(target, client=ClientOptions(proxy_header=True, proxy_source=source))
    assert attempt.acknowledged
    assert seen[0][:16] == b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    assert seen[0][16:20] == bytes(map(int, (source or "127.0.0.1").split(".")))


@pytest.mark.parametrize("reuse", [False, True])
async def test_a_closed_loop_counts_what_was_accepted(reuse: bool) -> None:
    async with sink() as (running, target):
        result = await closed_loop(load(target), clients=4, seconds=0.05, reuse=reuse)
        assert check(result.attempts, arrivals(running)).ok
        accepted = round(result.accepted_per_s * result.seconds)
        assert accepted == len(result.attempts) == len(running.record) > 0
        connections = running.record.counters["connections"]
        # A busy machine lets not every client begin in time.
        assert connections <= min(4, accepted) if reuse else connections == accepted
