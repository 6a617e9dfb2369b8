"""The watches' settings: nothing is written by kopf, and only what is ours is watched."""

import kopf

from smtpfleet.cluster.kinds import CHILDREN, POD, POOL
from smtpfleet.controller.watching import Seen, watch_settings, what
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
