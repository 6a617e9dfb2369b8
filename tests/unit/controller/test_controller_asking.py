"""How one agent is asked, with real servers on loopback: what is no answer of the agent meant is silence."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from smtpfleet.api.agent_status import BalancerStatus, RelayStatus
from smtpfleet.controller.agents import AgentError, HttpAsker, Status, Target, open_session


async def _answering(answer: web.Response, *, balancer: bool = False) -> Status:
    """Ask a real server on loopback that gives this answer."""

    async def handler(_: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_get("/status", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    assert site._server is not None
    try:
        async with aiohttp.ClientSession() as session:
            target = Target("r0", "u", "127.0.0.1", balancer=balancer)
            return await HttpAsker(session, port=runner.addresses[0][1])(target)
    finally:
        await runner.cleanup()


async def test_an_agents_answer_is_read() -> None:
    text = RelayStatus(relay="r0", table_revision="abc").model_dump_json(by_alias=True)
    assert (await _answering(web.Response(text=text))).table_revision == "abc"


async def test_an_answer_may_come_in_pieces_and_connections_are_kept() -> None:
    text = RelayStatus(relay="r0", table_revision="abc").model_dump_json(by_alias=True).encode()
    clients: set[object] = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        clients.add(request.transport.get_extra_info("peername"))
        response = web.StreamResponse(headers={"Content-Length": str(len(text))})
        await response.prepare(request)
        for piece in (text[:10], text[10:]):
            await response.write(piece)
            for _ in range(20):  # the client runs in this loop too, and gets the piece meanwhile
                await asyncio.sleep(0)
        return response

    app = web.Application()
    app.router.add_get("/status", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with open_session() as session:
            ask = HttpAsker(session, port=runner.addresses[0][1])
            for _ in range(3):
                status = await ask(Target("r0", "u", "127.0.0.1"))
                assert isinstance(status, RelayStatus)
                assert status.table_revision == "abc"
    finally:
        await runner.cleanup()
    assert len(clients) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "{}"},
        {"text": "not json"},
        {"text": "no", "status": 503},
        {"text": RelayStatus(relay="another").model_dump_json(by_alias=True)},
        {"status": 302, "headers": {"Location": "http://192.0.2.1/"}},
        {"text": "x" * 200_000},
    ],
)
async def test_anything_else_is_silence(answer: dict[str, object]) -> None:
    with pytest.raises(AgentError):
        await _answering(web.Response(**answer))  # type: ignore[arg-type] # given as they come


async def test_a_balancers_answer_is_read_and_only_its_own() -> None:
    text = BalancerStatus(balancer="r0", on_backups=True).model_dump_json(by_alias=True)
    answer = await _answering(web.Response(text=text), balancer=True)
    assert isinstance(answer, BalancerStatus)
    assert answer.on_backups
    other = BalancerStatus(balancer="another").model_dump_json(by_alias=True)
    with pytest.raises(AgentError):
        await _answering(web.Response(text=other), balancer=True)
