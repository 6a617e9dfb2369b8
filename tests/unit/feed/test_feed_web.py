"""The agents' HTTP port, asked over the loopback address."""

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Gauge

from smtpfleet.api.agent_status import BalancerStatus
from smtpfleet.feed.web import application


async def ask(path: str, *, method: str = "GET", sick: str = "", unready: str = "") -> tuple[int, str, str]:
    registry = CollectorRegistry()
    Gauge("smtpfleet_balancer_test", "Of the test.", registry=registry).set(3)
    served = application(
        status=lambda: BalancerStatus(balancer="b-0", table_revision="abc"),
        registry=registry,
        healthy=lambda: sick,
        ready=lambda: unready,
    )
    async with TestClient(TestServer(served)) as client, client.request(method, path) as response:
        return response.status, await response.text(), response.headers.get("Content-Type", "")


async def test_health_and_readiness_are_200_while_all_is_well() -> None:
    assert (await ask("/healthz"))[:2] == (200, "ok\n")
    assert (await ask("/readyz"))[:2] == (200, "ok\n")


async def test_a_reason_makes_503_and_is_told() -> None:
    assert (await ask("/healthz", sick="loop stalled"))[:2] == (503, "loop stalled\n")
    assert (await ask("/readyz", unready="no table"))[:2] == (503, "no table\n")


async def test_readiness_is_apart_from_health() -> None:
    assert (await ask("/healthz", unready="no table"))[0] == 200


async def test_status_is_json_in_camel_case() -> None:
    status, text, kind = await ask("/status")
    assert (status, BalancerStatus.model_validate_json(text).table_revision) == (200, "abc")
    assert '"tableRevision"' in text
    assert kind.startswith("application/json")


async def test_metrics_are_in_the_prometheus_text_format() -> None:
    status, text, kind = await ask("/metrics")
    assert (status, "smtpfleet_balancer_test 3.0" in text) == (200, True)
    assert kind.startswith("text/plain")


async def test_nobody_can_give_an_order() -> None:
    assert (await ask("/status", method="POST"))[0] == 405
    assert (await ask("/reload"))[0] == 404
