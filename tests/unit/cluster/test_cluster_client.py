"""Calls to the API server are bounded in time, and those that need leadership by what is left of it."""

import asyncio
from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from smtpfleet.cluster import client
from smtpfleet.cluster.client import TIMEOUT_S, Cluster
from smtpfleet.cluster.errors import NotLeadingError, UnavailableError
from smtpfleet.cluster.kinds import SERVICE

pytestmark = pytest.mark.looptime

THING = {"metadata": {"namespace": "mail", "name": "outbound", "uid": "u", "resourceVersion": "5"}}


class Silent:
    """An API server that never answers."""

    def __init__(self, _: object) -> None:
        self.asked = 0

    async def request(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        await asyncio.Event().wait()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Silent:
    server = Silent(None)
    monkeypatch.setattr(client, "ApiClient", Silent)
    monkeypatch.setattr(client, "DynamicClient", lambda _: server)
    return server


def _now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(("left_s", "lasts_s"), [(0.1, 0.1), (7.9, 7.9), (60, TIMEOUT_S)])
@pytest.mark.usefixtures("server")
async def test_a_write_does_not_outlive_the_leadership_it_needs(left_s: float, lasts_s: float) -> None:
    cluster = Cluster(Configuration()).fenced(lambda: left_s)
    began = _now()
    for write in (
        cluster.apply(SERVICE, THING),
        cluster.apply_status(SERVICE, THING),
        cluster.merge(SERVICE, THING, {}),
        cluster.create(SERVICE, THING),
        cluster.replace(SERVICE, THING),
        cluster.delete(SERVICE, THING),
    ):
        with pytest.raises(UnavailableError):
            await write
        assert _now() - began == pytest.approx(lasts_s)
        began = _now()


@pytest.mark.usefixtures("server")
async def test_what_needs_no_leadership_has_all_the_time() -> None:
    cluster = Cluster(Configuration()).fenced(lambda: 0.1)
    for call in (
        cluster.get(SERVICE, "mail", "outbound"),
        cluster.list(SERVICE, "mail", {}),
        cluster.replace(SERVICE, THING, fenced=False),
    ):
        began = _now()
        with pytest.raises(UnavailableError):
            await call
        assert _now() - began == pytest.approx(TIMEOUT_S)


async def test_without_leadership_nothing_is_written(server: Silent) -> None:
    def closed() -> float:
        raise NotLeadingError("no")

    with pytest.raises(NotLeadingError):
        await Cluster(Configuration()).fenced(closed).apply(SERVICE, THING)
    assert server.asked == 0
