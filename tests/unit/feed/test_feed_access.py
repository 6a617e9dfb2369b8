"""Reading one ConfigMap over HTTP, from a server on the loopback address that speaks list and watch."""

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smtpfleet.feed.access import WATCH_S, AccessError, ApiAccess, in_cluster, kept_alive


def config_map(text: str | None) -> dict[str, object]:
    return {"metadata": {"resourceVersion": "8"}, "data": {} if text is None else {"routing.json": text}}


def event(kind: str, item: dict[str, object]) -> dict[str, object]:
    return {"type": kind, "object": item}


@asynccontextmanager
async def api_server(
    items: list[dict[str, object]], events: list[dict[str, object]], *, status: int = 200
) -> AsyncIterator[tuple[str, list[web.Request]]]:
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        if status != 200:
            return web.Response(status=status)
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": items})
        return web.Response(text="".join(json.dumps(each) + "\n" for each in events))

    application = web.Application()
    for kind in ("configmaps", "secrets"):
        application.router.add_get(f"/api/v1/namespaces/mail/{kind}", answer)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/"), asked


async def read(access: ApiAccess) -> list[str | None]:
    texts = access.texts(namespace="mail", name="outbound-routing", key="routing.json")
    async with aclosing(texts):
        return [text async for text in texts]


async def test_the_value_is_told_now_and_after_each_change() -> None:
    changes = [event("MODIFIED", config_map("two")), event("ADDED", config_map("three"))]
    async with api_server([config_map("one")], changes) as (url, asked):
        assert await read(ApiAccess(url)) == ["one", "two", "three"]
    assert [request.query["fieldSelector"] for request in asked] == ["metadata.name=outbound-routing"] * 2
    assert asked[1].query["resourceVersion"] == "7"


async def test_a_missing_object_a_missing_key_and_a_deletion_are_none() -> None:
    deleted = event("DELETED", config_map("one"))
    async with api_server([], [event("ADDED", config_map(None)), deleted]) as (url, _):
        assert await read(ApiAccess(url)) == [None, None, None]


async def test_an_expired_watch_ends_so_that_the_caller_lists_anew() -> None:
    gone = event("ERROR", {"code": 410, "metadata": {}})
    async with api_server([config_map("one")], [gone, event("MODIFIED", config_map("two"))]) as (url, _):
        assert await read(ApiAccess(url)) == ["one"]


async def test_a_table_of_a_megabyte_arrives() -> None:
    large = "x" * 2**20
    async with api_server([config_map("one")], [event("MODIFIED", config_map(large))]) as (url, _):
        assert await read(ApiAccess(url)) == ["one", large]


async def test_a_refusal_is_an_access_error_with_its_status() -> None:
    async with api_server([], [], status=403) as (url, _):
        with pytest.raises(AccessError, match="403"):
            await read(ApiAccess(url))


async def test_an_answer_that_is_no_list_is_an_access_error() -> None:
    async with api_server([{"data": []}], []) as (url, _):
        with pytest.raises(AccessError):
            await read(ApiAccess(url))


async def test_nobody_listening_is_an_access_error(unused_tcp_port: int) -> None:
    with pytest.raises(AccessError):
        await read(ApiAccess(f"http://127.0.0.1:{unused_tcp_port}"))


async def test_a_token_that_was_replaced_is_used(tmp_path: Path) -> None:
    token = tmp_path / "token"
    async with api_server([], []) as (url, asked):
        for text in ("old", "new\n"):
            token.write_text(text)
            await read(ApiAccess(url, token_file=token))
    assert [request.headers["Authorization"] for request in asked[::2]] == ["Bearer old", "Bearer new"]


async def test_a_missing_token_is_an_access_error(tmp_path: Path) -> None:
    async with api_server([], []) as (url, _):
        with pytest.raises(AccessError):
            await read(ApiAccess(url, token_file=tmp_path / "none"))


@pytest.mark.parametrize(
    ("host", "url"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd::1", "https://[fd::1]:443")]
)
def test_a_pod_reaches_the_api_server_by_its_environment(tmp_path: Path, host: str, url: str) -> None:
    (tmp_path / "token").touch()
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    access = in_cluster(environment, service_account=tmp_path)
    assert access == ApiAccess(url, token_file=tmp_path / "token", ca_file=tmp_path / "ca.crt")


def test_a_pod_without_a_service_account_has_no_api_server(tmp_path: Path) -> None:
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, service_account=tmp_path) is None
    assert in_cluster({}, service_account=tmp_path) is None


def secret(values: dict[str, str]) -> dict[str, object]:
    return {"metadata": {"resourceVersion": "8"}, "type": "Opaque", "data": values}


async def read_secret(access: ApiAccess) -> list[Mapping[str, bytes] | None]:
    async with aclosing(access.secret(namespace="mail", name="cert")) as contents:
        return [content async for content in contents]


async def test_the_values_of_a_secret_are_decoded_now_and_after_each_change() -> None:
    changes = [event("MODIFIED", secret({"a": "Mg=="})), event("DELETED", secret({})), event("ADDED", {})]
    async with api_server([secret({"a": "MQ==", "b": "/w=="})], changes) as (url, asked):
        assert await read_secret(ApiAccess(url)) == [{"a": b"1", "b": b"\xff"}, {"a": b"2"}, None, {}]
    assert [request.path for request in asked] == ["/api/v1/namespaces/mail/secrets"] * 2
    assert [request.query["fieldSelector"] for request in asked] == ["metadata.name=cert"] * 2


async def test_a_missing_secret_is_none() -> None:
    async with api_server([], []) as (url, _):
        assert await read_secret(ApiAccess(url)) == [None]


@pytest.mark.parametrize(
    "bad",
    [
        secret({"a": "hunter2!"}),
        {"metadata": {}, "data": {"a": {"b": "hunter2"}}},
        {"metadata": {}, "data": ["hunter2"]},
        {"metadata": "hunter2"},
    ],
)
async def test_no_error_tells_content(bad: dict[str, object]) -> None:
    for items, events in (([bad], []), ([], [event("ADDED", bad)])):
        async with api_server(items, events) as (url, _):
            with pytest.raises(AccessError) as refused:
                await read_secret(ApiAccess(url))
        assert "hunter2" not in str(refused.value)


def test_the_kernel_finds_out_within_half_a_watch_that_its_other_end_is_gone() -> None:
    with kept_alive((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, pause, count = (
            made.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + pause * count < WATCH_S / 2
