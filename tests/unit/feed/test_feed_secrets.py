"""Following Secrets, in virtual time; the API server is played by a script of its answers."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from smtpfleet.feed.access import AccessError
from smtpfleet.feed.secrets import SecretFollower
from smtpfleet.feed.secretset import SecretSet
from tests.unit.feed.scripted import ScriptedSecrets

pytestmark = pytest.mark.looptime
OLD, NEW = {"tls.crt": b"old\n\xff"}, {"tls.crt": b"new"}


@dataclass
class Count:
    """Counts calls."""

    calls: int = 0

    def __call__(self) -> None:
        self.calls += 1


@asynccontextmanager
async def running(thing: SecretFollower | SecretSet) -> AsyncIterator[None]:
    task = asyncio.create_task(thing.run())
    await asyncio.sleep(0.01)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def follower(
    api: ScriptedSecrets | None, changed: Count | None = None, copy: Path | None = None
) -> SecretFollower:
    return SecretFollower("mail", "cert", api, changed or Count(), copy=copy, jitter=lambda: 1.0)


async def test_content_and_its_changes_are_told() -> None:
    api, changed = ScriptedSecrets(), Count()
    secret = follower(api, changed)
    async with running(secret):
        assert (secret.current, secret.missing, bool(secret.error)) == (None, False, True)
        await api.tell("cert", OLD)
        assert (secret.current, secret.error, changed.calls) == (OLD, "", 1)
        await api.tell("cert", NEW)
        assert (secret.current, changed.calls) == (NEW, 2)


async def test_the_same_content_again_is_no_change() -> None:
    api, changed = ScriptedSecrets(), Count()
    async with running(follower(api, changed)):
        await api.tell("cert", OLD)
        await api.tell("cert", dict(OLD))
        assert changed.calls == 1


async def test_a_missing_secret_is_none_and_says_so_once() -> None:
    api, changed = ScriptedSecrets(), Count()
    secret = follower(api, changed)
    async with running(secret):
        await api.tell("cert", OLD)
        await api.tell("cert", None)
        await api.tell("cert", None)
        assert (secret.current, secret.missing, changed.calls) == (None, True, 2)
        assert secret.error == "Secret mail/cert is missing"
        await api.tell("cert", NEW)
        assert (secret.current, secret.missing, secret.error) == (NEW, False, "")


async def test_an_outage_leaves_the_content_and_the_news_comes_after_it() -> None:
    api = ScriptedSecrets()
    secret = follower(api)
    async with running(secret):
        await api.tell("cert", OLD)
        await api.tell("cert", AccessError("refused"))
        assert (secret.current, secret.missing) == (OLD, False)
        assert "refused" in secret.error
        await asyncio.sleep(1)
        await api.tell("cert", NEW)
        assert (secret.current, secret.error) == (NEW, "")


async def test_a_container_that_starts_without_the_api_server_has_the_copy(tmp_path: Path) -> None:
    api, copy = ScriptedSecrets(), tmp_path / "cert"
    async with running(follower(api, copy=copy)):
        await api.tell("cert", OLD)
    assert copy.stat().st_mode & 0o777 == 0o600
    later = follower(None, copy=copy)
    async with running(later):
        assert (later.current, later.missing, bool(later.error)) == (OLD, False, True)


async def test_a_secret_that_is_gone_leaves_no_copy(tmp_path: Path) -> None:
    api, copy = ScriptedSecrets(), tmp_path / "cert"
    async with running(follower(api, copy=copy)):
        await api.tell("cert", OLD)
        await api.tell("cert", None)
    assert not copy.exists()


async def test_a_broken_copy_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text('{"tls.crt": "%"}')
    assert follower(None, copy=tmp_path / "cert").current is None


async def test_a_copy_that_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    api = ScriptedSecrets()
    secret = follower(api, copy=tmp_path / "none" / "cert")
    async with running(secret):
        await api.tell("cert", OLD)
        assert secret.current == OLD


async def test_no_log_line_has_content(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "cert").write_text('{"password": 1, "x": "hunter2"}')
    api = ScriptedSecrets()
    async with running(follower(api, copy=tmp_path / "cert")):
        await api.tell("cert", {"password": b"hunter2"})
        await api.tell("cert", None)
        await api.tell("cert", AccessError("gone"))
    assert len(caplog.records) >= 4
    assert not [record for record in caplog.records if "hunter2" in str(record.__dict__)]


def many(api: ScriptedSecrets, copies: Path | None = None, changed: Count | None = None) -> SecretSet:
    return SecretSet(namespace="mail", api=api, changed=changed or Count(), copies=copies, jitter=lambda: 1.0)


async def test_a_set_follows_names_as_they_come_and_go() -> None:
    api, changed = ScriptedSecrets(), Count()
    secrets = many(api, changed=changed)
    async with running(secrets):
        secrets.follow({"a", "b"})
        await api.tell("a", OLD)
        await api.tell("b", NEW)
        assert (secrets.get("a"), secrets.get("b"), changed.calls) == (OLD, NEW, 2)
        secrets.follow({"b", "c"})
        await asyncio.sleep(0.01)
        assert api.open == {"b", "c"}
        assert (secrets.get("a"), secrets.get("b"), api.tries["b"]) == (None, NEW, 1)
        assert "not followed" in secrets.error("a")


async def test_a_set_tells_a_missing_secret_from_one_that_is_not_known_yet() -> None:
    api = ScriptedSecrets()
    secrets = many(api)
    async with running(secrets):
        secrets.follow({"a", "b"})
        await api.tell("a", None)
        assert (secrets.missing("a"), secrets.missing("b"), secrets.missing("c")) == (True, False, False)
        assert secrets.error("a") == "Secret mail/a is missing"


async def test_names_that_were_set_before_the_run_are_followed() -> None:
    api = ScriptedSecrets()
    secrets = many(api)
    secrets.follow({"a"})
    async with running(secrets):
        await api.tell("a", OLD)
        assert secrets.get("a") == OLD


async def test_copies_of_secrets_that_are_no_longer_named_go(tmp_path: Path) -> None:
    api, copies = ScriptedSecrets(), tmp_path / "secrets"
    secrets = many(api, copies)
    async with running(secrets):
        secrets.follow({"a", "b"})
        await api.tell("a", OLD)
        await api.tell("b", OLD)
    assert copies.stat().st_mode & 0o777 == 0o700
    later = many(api, copies)
    later.follow({"b"})
    assert not (copies / "a").exists()
    assert later.get("b") == OLD


class Sealing:
    """Keeps of each value only how long it is; counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, content: Mapping[str, bytes]) -> Mapping[str, bytes]:
        self.calls += 1
        return {key: str(len(value)).encode() for key, value in content.items()}


async def test_what_is_sealed_is_kept_in_no_other_form(tmp_path: Path) -> None:
    api, changed, seal, copy = ScriptedSecrets(), Count(), Sealing(), tmp_path / "copy"
    secret = SecretFollower("mail", "cert", api, changed, copy=copy, seal=lambda: seal, jitter=lambda: 1.0)
    async with running(secret):
        await api.tell("cert", {"alice": b"canary"})
        assert secret.current == {"alice": b"6"}
        assert b"canary" not in copy.read_bytes()
        assert base64.b64encode(b"canary") not in copy.read_bytes()
        assert not any(b"canary" in value for value in vars(secret).values() if isinstance(value, bytes))


async def test_the_same_content_is_sealed_once_and_other_content_anew() -> None:
    api, changed, seal = ScriptedSecrets(), Count(), Sealing()
    secret = SecretFollower("mail", "cert", api, changed, seal=lambda: seal, jitter=lambda: 1.0)
    async with running(secret):
        for content in ({"a": b"one"}, {"a": b"one"}, {"a": b"two"}, {"a": b"two"}, None, {"a": b"two"}):
            await api.tell("cert", content)
    assert (seal.calls, changed.calls) == (3, 4)


async def test_a_secret_that_comes_to_hold_users_is_sealed_from_then_on(tmp_path: Path) -> None:
    api, seal, sealed = ScriptedSecrets(), Sealing(), False
    secrets = SecretSet(
        namespace="mail",
        api=api,
        changed=Count(),
        jitter=lambda: 1.0,
        seal=lambda name: seal if sealed and name == "cert" else None,
    )
    secrets.follow({"cert"})
    async with running(secrets):
        await api.tell("cert", {"a": b"one"})
        assert secrets.get("cert") == {"a": b"one"}
        sealed = True
        await api.tell("cert", {"a": b"one"})
        assert secrets.get("cert") == {"a": b"3"}
