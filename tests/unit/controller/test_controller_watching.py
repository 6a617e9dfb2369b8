"""The watches: nothing is written by kopf, only what is ours is watched, and they start anew when they are to."""

import asyncio
from unittest.mock import Mock

import kopf
import pytest

from smtpfleet.cluster.errors import NotFoundError
from smtpfleet.cluster.kinds import CHILDREN, POD, POOL
from smtpfleet.controller import watching
from smtpfleet.controller.leader import Leader
from smtpfleet.controller.metrics import Metrics
from smtpfleet.controller.settings import Settings
from smtpfleet.controller.watching import Seen, Watches, watch_settings, what
from smtpfleet.domain.neighbours import Neighbour

LABELS = {"smtpfleet.io/pool": "outbound", "app.kubernetes.io/managed-by": "smtpfleet"}


def _event(kind: str, **metadata: object) -> dict[str, object]:
    given = {"name": "x", "namespace": "mail", "uid": "u", "resourceVersion": "7"}
    return {"type": kind, "object": {"metadata": given | metadata}}


def test_children_are_narrowed_by_the_server_and_pools_are_not() -> None:
    selectors = watch_settings().watching.label_selectors
    keys = {(selector.group, selector.version, selector.any_name) for selector in selectors}
    assert keys == {(kind.group, kind.version, kind.plural) for kind in CHILDREN}
    assert set(selectors.values()) == {"app.kubernetes.io/managed-by=smtpfleet"}


def test_kopf_posts_nothing_and_leaves_signals_and_the_process_alone() -> None:
    settings = watch_settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.process.ultimate_exiting_timeout is None


def test_kopf_never_marks_objects_with_the_name_it_shares_with_other_operators() -> None:
    settings = watch_settings()
    assert settings.persistence.finalizer.startswith("smtpfleet.io/")
    assert isinstance(settings.persistence.progress_storage, kopf.AnnotationsProgressStorage)
    assert settings.persistence.progress_storage.prefix == "smtpfleet.io"


def test_a_pools_event_is_about_itself_and_a_childs_about_its_pool() -> None:
    assert what(POOL, _event("MODIFIED", name="outbound")) == Seen(
        "SmtpPool", "mail", "outbound", "u", "7", deleted=False, neighbour=Neighbour("outbound")
    )
    assert what(POOL, _event("DELETED", name="outbound")) == Seen(
        "SmtpPool", "mail", "outbound", "u", "7", deleted=True
    )
    assert what(POD, _event("DELETED", labels=LABELS)) == Seen(
        "Pod", "mail", "outbound", "u", "7", deleted=True
    )


def test_an_object_that_belongs_to_no_pool_is_passed_over() -> None:
    assert what(POD, _event("ADDED")) is None
    assert what(POD, _event("ADDED", labels=None)) is None


async def test_watches_that_are_to_start_anew_do_and_those_before_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, lives = asyncio.get_running_loop(), asyncio.Queue[str]()

    async def operator(**_: object) -> None:
        loop.call_soon_threadsafe(lives.put_nowait, "began")
        try:
            await asyncio.Event().wait()
        finally:
            loop.call_soon_threadsafe(lives.put_nowait, "ended")

    async def nothing() -> None: ...

    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr(watching, "_RESTART_S", 0.0)
    watches = Watches(login=Mock(), namespace="", seen=Mock(), starting=nothing)
    watches.restart()  # none run yet
    task = asyncio.create_task(watches.run())
    async with asyncio.timeout(10):
        assert await lives.get() == "began"
        watches.restart()
        assert [await lives.get(), await lives.get()] == ["ended", "began"]
        task.cancel()
        assert await lives.get() == "ended"
    with pytest.raises(asyncio.CancelledError):
        await task


class Definition:
    """An API server that knows no SmtpPool for so many questions."""

    def __init__(self, *, missing: int) -> None:
        self.missing = missing

    async def list(self, *_: object) -> list[object]:
        self.missing -= 1
        if self.missing >= 0:
            raise NotFoundError("the server could not find the requested resource")
        return []


@pytest.mark.looptime
@pytest.mark.parametrize("missing", [0, 1, 3])
async def test_watches_start_anew_when_the_definition_was_missing(missing: int) -> None:
    """The old ones may go on for minutes and say nothing."""
    settings = Settings(pod_name="a", pod_namespace="mail", relay_image="r", balancer_image="b", resync_s=120)
    leader = Leader(
        settings=settings,
        cluster=Definition(missing=missing),  # type: ignore[arg-type]  # of a cluster only lists are needed
        login=Mock(),
        metrics=Metrics(),
    )
    watches = Mock(spec=Watches)
    task = asyncio.create_task(leader._keep_finding_pools(watches))
    await asyncio.sleep(110)
    task.cancel()
    assert watches.restart.call_count == (1 if missing else 0)
