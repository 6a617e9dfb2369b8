"""Where the API server serves each kind."""

from smtpfleet.cluster import kinds


def test_objects_of_the_core_group_and_of_others_have_their_paths() -> None:
    assert kinds.SERVICE.path("mail", "outbound") == "/api/v1/namespaces/mail/services/outbound"
    assert kinds.DEPLOYMENT.path("mail") == "/apis/apps/v1/namespaces/mail/deployments"
    assert kinds.POD.path() == "/api/v1/pods"
    assert (
        kinds.POOL.path("mail", "outbound", "status")
        == "/apis/smtpfleet.io/v1alpha1/namespaces/mail/smtppools/outbound/status"
    )


def test_the_version_is_as_objects_carry_it() -> None:
    assert kinds.CLAIM.api_version == "v1"
    assert kinds.BUDGET.api_version == "policy/v1"


def test_every_child_is_found_by_its_kind() -> None:
    assert all(kinds.kind_of({"kind": kind.kind}) is kind for kind in kinds.CHILDREN)


def test_what_pods_need_is_written_before_them() -> None:
    order = list(kinds.APPLIED)
    before = (kinds.SERVICE_ACCOUNT, kinds.ROLE_BINDING, kinds.CONFIG_MAP, kinds.CLAIM)
    assert all(order.index(kind) < order.index(kinds.DEPLOYMENT) for kind in before)
