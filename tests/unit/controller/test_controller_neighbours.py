"""What pools of a namespace are told of each other, and whose work a change is."""

from typing import Any

import pytest

from smtpfleet.controller.neighbours import Neighbourhood, neighbour, neighbours
from smtpfleet.domain.neighbours import Neighbour, PoolRoute


def stored(name: str, *to: str, mode: str = "Optional", **metadata: Any) -> dict[str, Any]:
    routes = [{"domain": f"{pool}.example", "senderDomain": "", "pool": pool} for pool in to]
    return {
        "metadata": {"name": name, "namespace": "mail"} | metadata,
        "spec": {"submission": {"tls": {"mode": mode}}, "delivery": {"routes": routes}},
    }


def leading(name: str, *to: str) -> Neighbour:
    return Neighbour(name, routes=tuple(PoolRoute((f"{pool}.example", ""), pool) for pool in to))


def test_a_stored_pool_is_read_as_far_as_others_need_it() -> None:
    assert neighbour(stored("a", "bulk")) == leading("a", "bulk")
    assert neighbour(stored("a", mode="None")) == Neighbour("a", takes_tls=False, self_signed=False)
    own = stored("a")
    own["spec"]["submission"]["tls"]["secretName"] = "a-certificate"
    assert neighbour(own) == Neighbour("a", self_signed=False)


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"submission": None, "delivery": None},
        {"delivery": {"routes": [{"domain": "a"}, None]}},
        {"delivery": {"routes": 1}},
    ],
    ids=str,
)
def test_a_pool_that_cannot_be_acted_on_is_a_neighbour_nevertheless(spec: Any) -> None:
    assert neighbour({"metadata": {"name": "a"}, "spec": spec}) == Neighbour("a")


def test_a_pool_is_no_neighbour_of_itself_nor_once_it_is_being_deleted() -> None:
    pools = [stored("c"), stored("b", deletionTimestamp="now"), stored("a", "c"), stored("own")]
    assert neighbours(pools, "own") == (leading("a", "c"), Neighbour("c"))


def test_a_change_is_the_work_of_those_whom_it_leads_to_and_of_those_who_have_routes() -> None:
    known = Neighbourhood()

    def told(name: str, now: Neighbour | None) -> set[str]:
        return {key[1] for key in known.seen(("mail", name), now)}

    for name in ("bulk", "other", "idle"):
        assert told(name, leading(name)) == set()
    assert told("outbound", leading("outbound", "bulk")) == {"bulk"}
    assert known.leading_to(("mail", "bulk")) == {("mail", "outbound")}
    assert known.leading_to(("mail", "other")) == known.leading_to(("other", "bulk")) == frozenset()
    assert told("outbound", leading("outbound", "bulk")) == set()  # its status has changed, and nothing else
    assert told("outbound", leading("outbound", "other", "missing")) == {"bulk", "other"}
    assert told("bulk", Neighbour("bulk", takes_tls=False)) == {"outbound"}
    assert told("bulk", None) == {"outbound"}
    assert told("outbound", None) == {"other"}
    assert told("idle", None) == set()


def test_namespaces_have_nothing_to_do_with_each_other() -> None:
    known = Neighbourhood()
    assert known.seen(("one", "bulk"), leading("bulk")) == frozenset()
    assert known.seen(("two", "outbound"), leading("outbound", "bulk")) == frozenset()
    assert known.seen(("one", "bulk"), None) == frozenset()
