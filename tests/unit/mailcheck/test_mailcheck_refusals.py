"""Loads that cannot be made end with a sentence, and never as outcomes of messages."""

import asyncio

import pytest

from mailcheck.dialogue import ClientOptions
from mailcheck.errors import GeneratorExhaustedError, MailcheckError
from mailcheck.generator import generate
from mailcheck.submit import Load
from tests.unit.mailcheck.peers import sink


async def test_a_generator_without_descriptors_ends_instead_of_blaming_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_descriptors(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", no_descriptors)
    with pytest.raises(GeneratorExhaustedError, match="Too many open files"):
        await generate(Load(targets=("127.0.0.1:25",)), rate=1000, count=5)


async def test_a_client_address_that_is_none_ends_the_run_with_a_sentence() -> None:
    client = ClientOptions(proxy_header=True, proxy_source="somewhere")
    async with sink() as (_, target):
        with pytest.raises(MailcheckError, match="PROXY"):
            await generate(Load(targets=(target,), client=client), rate=1000, count=1)


def test_a_run_name_that_cannot_be_in_a_message_id_is_refused() -> None:
    with pytest.raises(MailcheckError, match="Message-ID"):
        Load(targets=("127.0.0.1:25",), run="a b")


@pytest.mark.parametrize("target", ["127.0.0.1", "127.0.0.1:smtp", ":", "127.0.0.1:99999"])
async def test_a_target_that_is_no_host_and_port_is_refused(target: str) -> None:
    with pytest.raises(MailcheckError, match="HOST:PORT"):
        await generate(Load(targets=(target,)), rate=1, count=1)


@pytest.mark.parametrize(("rate", "count", "reuse"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
async def test_a_load_that_makes_no_sense_is_refused(rate: float, count: int, reuse: int) -> None:
    with pytest.raises(MailcheckError):
        await generate(Load(targets=("127.0.0.1:25",)), rate=rate, count=count, reuse=reuse)
