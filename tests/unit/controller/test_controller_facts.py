"""From the API server's objects to facts: what is read, and what is not believed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from smtpfleet.api.autoscaling import AutoscalingStatus
from smtpfleet.api.reasons import ConditionType, RelayState
from smtpfleet.api.status import Condition, RelayOutage, SmtpPoolStatus
from smtpfleet.controller.facts import Children, pool_facts, stored_status
from smtpfleet.domain.facts import Claim, Deployment, Pod, Pool, Relay, Wish
from tests.unit.controller import objects
from tests.unit.controller.objects import POOL, annotated, children, claim, deployment, pod, service
from tests.unit.domain.samples import entry
from tests.unit.resources.goldens import pool, table


def _facts(seen: Children, **metadata: Any) -> Pool:
    return pool_facts(POOL, objects.stored(**metadata), seen, lambda _: None)


def _relay(seen: Children) -> Relay:
    (found,) = _facts(seen).relays
    return found


def test_a_relay_that_is_well_is_read_in_full() -> None:
    assert _relay(children(0)) == Relay(
        name="outbound-relay-0",
        number=0,
        deployment=Deployment(wanted=1, ready=1, current=True),
        claim=Claim(bound=True),
        service=True,
        address="10.96.0.1",
        pods=(
            Pod(
                "pod-uid-0",
                "n1",
                "z1",
                "10.244.1.7",
                running=True,
                ready=True,
                created=datetime(2026, 5, 1, 11, tzinfo=UTC),
            ),
        ),
    )


def test_the_pool_and_its_balancers_are_read() -> None:
    seen = _facts(children(0, 1))
    assert (seen.name, seen.namespace, seen.generation, seen.paused) == ("outbound", "mail", 3, False)
    assert seen.balancer == Deployment(wanted=2, ready=2, current=True)
    assert seen.table == table(POOL)
    assert [relay.number for relay in seen.relays] == [0, 1]


def test_an_empty_namespace_is_an_empty_pool() -> None:
    empty: dict[str, list[Any]] = {"Deployment": [], "ConfigMap": []}
    seen = _facts(empty)
    assert (seen.relays, seen.balancer, seen.table) == ((), None, None)


def test_annotations_on_a_relays_deployment_are_wishes() -> None:
    thing = annotated(deployment(0), drain="true", weight="30", paused="true")
    relay = _relay(children(0, Deployment=[thing]))
    assert (relay.wish, relay.weight_bound, relay.paused) == (Wish.DRAIN, 30, True)


@pytest.mark.parametrize("weight", ["", "101", "-1", "many", "3.5", "²"])
def test_a_weight_that_makes_no_sense_is_as_if_it_were_not_there(weight: str) -> None:
    assert _relay(children(0, Deployment=[annotated(deployment(0), weight=weight)])).weight_bound == 100


def test_only_the_word_true_drains_and_pauses() -> None:
    relay = _relay(children(0, Deployment=[annotated(deployment(0), drain="yes", paused="1")]))
    assert (relay.wish, relay.paused) == (Wish.NONE, False)


def test_an_annotation_on_the_pool_pauses_it() -> None:
    assert _facts(children(0), annotations={"smtpfleet.io/paused": "true"}).paused


def test_an_older_pod_template_is_seen_as_outdated() -> None:
    newer = pool(relay={"image": "example.net/relay:2"})
    seen = pool_facts(newer, objects.stored(newer), children(0), lambda _: None)
    assert seen.relays[0].deployment == Deployment(wanted=1, ready=1, current=True, outdated=True)


@pytest.mark.parametrize(
    "status",
    [
        {},
        objects.READY | {"observedGeneration": 0},
        objects.READY | {"updatedReplicas": 0},
        objects.READY | {"replicas": 2},
    ],
)
def test_a_deployment_whose_controller_has_not_finished_is_not_current(status: dict[str, int]) -> None:
    found = _relay(children(0, Deployment=[deployment(0) | {"status": status}])).deployment
    assert found is not None
    assert not found.current


def test_an_ephemeral_relay_is_known_by_what_its_pod_has_and_not_by_the_spec() -> None:
    inside = deployment(0, ephemeral=True)
    assert _relay(children(0, Deployment=[inside], PersistentVolumeClaim=[])).ephemeral
    assert not _relay(children(0)).ephemeral
    assert not _relay(children(0, Deployment=[])).ephemeral


def test_a_claim_that_waits_for_its_first_pod_holds_no_mail_but_one_with_a_chosen_node_may() -> None:
    waiting = claim(0)
    del waiting["spec"]["volumeName"]
    assert _relay(children(0, PersistentVolumeClaim=[waiting])).claim == Claim(bound=False)
    waiting["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = "n1"
    assert _relay(children(0, PersistentVolumeClaim=[waiting])).claim == Claim(bound=True)


def test_what_is_being_deleted_is_seen_so() -> None:
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    things: tuple[Any, ...] = (claim(0), pod(0))
    for thing in things:
        thing["metadata"] |= going
    relay = _relay(children(0, PersistentVolumeClaim=[things[0]], Pod=[things[1]]))
    assert relay.claim is not None
    assert relay.pod is not None
    assert (relay.claim.leaving, relay.pod.leaving) == (True, True)
    assert relay.doomed


def test_pods_that_have_ended_are_no_pods() -> None:
    assert _relay(children(0, Pod=[pod(0, phase="Failed"), pod(0, phase="Succeeded")])).pods == ()


def test_a_pod_that_cannot_be_scheduled_says_why_in_the_schedulers_words() -> None:
    waiting = pod(
        0,
        conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}],
        containerStatuses=None,
    )
    (found,) = _relay(children(0, Pod=[waiting])).pods
    assert (found.running, found.ready, found.trouble) == (False, False, "0/2 nodes are available")


def test_a_container_that_waits_says_why_without_counting_attempts() -> None:
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    waiting = pod(0, containerStatuses=[{"name": "relay", "state": state}], conditions=None)
    (found,) = _relay(children(0, Pod=[waiting])).pods
    assert found.trouble == "CrashLoopBackOff"


def test_the_pod_that_stays_is_the_relay_and_not_the_one_that_goes() -> None:
    going = pod(0)
    going["metadata"] |= {"uid": "old", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    relay = _relay(children(0, Pod=[going, pod(0)]))
    assert relay.pod is not None
    assert relay.pod.uid == "pod-uid-0"


def test_objects_that_only_carry_our_labels_are_not_believed() -> None:
    foreign = deployment(0)
    foreign["metadata"]["ownerReferences"] = []
    other = service(1)
    other["metadata"]["ownerReferences"][0]["uid"] = "another-pool"
    seen = _facts({"Deployment": [foreign], "Service": [other], "ConfigMap": []})
    assert seen.relays == ()


def test_a_relay_label_that_does_not_fit_the_name_is_not_believed() -> None:
    renamed = deployment(0)
    renamed["metadata"]["name"] = "outbound-relay-00"
    renamed["metadata"]["labels"]["smtpfleet.io/relay"] = "outbound-relay-00"
    stranger = deployment(1)
    stranger["metadata"]["labels"]["smtpfleet.io/relay"] = "outbound-relay-7"
    assert _facts(children(Deployment=[renamed, stranger])).relays == ()


@pytest.mark.parametrize("data", [None, {}, {"routing.json": ""}, {"routing.json": "{"}])
def test_a_routing_table_that_somebody_broke_is_no_table(data: Any) -> None:
    broken = dict(children()["ConfigMap"][0]) | {"data": data}
    assert _facts(children(ConfigMap=[broken])).table is None


def test_a_headless_service_has_no_address() -> None:
    headless = service(0)
    headless["spec"]["clusterIP"] = "None"
    assert _relay(children(0, Service=[headless])).address == ""


def test_the_last_status_is_read_and_one_of_another_form_is_forgotten() -> None:
    status = SmtpPoolStatus(observed_generation=2, relays=(entry(0),))
    written = status.model_dump(mode="json", by_alias=True)
    assert stored_status({"status": written}) == status
    assert stored_status({}) == SmtpPoolStatus()
    assert stored_status({"status": {"relays": [{"name": "outbound-relay-0"}]}}) == SmtpPoolStatus()


def test_what_a_later_release_wrote_is_read_as_far_as_this_one_knows_it() -> None:
    """After a rollback of the operator: ejections, marks, remedies and the memory of sizing must not be lost."""
    since = "2026-05-01T12:00:00Z"
    ready = Condition(
        type=ConditionType.READY,
        status="True",
        observed_generation=2,
        last_transition_time=since,
        reason="Fine",
    )
    status = SmtpPoolStatus(
        observed_generation=2,
        autoscaling=AutoscalingStatus(relay_rate=9),
        conditions=(ready,),
        relays=(
            entry(0, RelayState.EJECTED, ejections=2, outage=RelayOutage(since=since)),
            entry(1, RelayState.STARTING, reason="Surplus"),
        ),
    )
    written = status.model_dump(mode="json", by_alias=True)
    places = (written, *written["relays"], written["relays"][0]["outage"], written["autoscaling"]["scaleUp"])
    for place in (*places, written["conditions"][0]):
        place["later"] = {"any": ["thing"]}
    written["conditions"].append(written["conditions"][0] | {"type": "Moonlit"})
    written["relays"][1]["state"] = "Moonlit"
    assert stored_status({"status": written}) == status


def test_the_balancers_pods_are_read_by_name_once_they_have_an_address() -> None:
    labels = objects.balancers()["spec"]["template"]["metadata"]["labels"]

    def balancer(name: str, **status: Any) -> Any:
        made = pod(0, **status)
        return made | {"metadata": {"name": name, "uid": name, "labels": labels}}

    pods = [
        balancer("b", podIP="10.244.1.6"),
        balancer("a", podIP="10.244.1.5"),
        balancer("new", podIP=""),
        balancer("ended", phase="Failed"),
        pod(0),
    ]
    found = _facts(children(0, Pod=pods)).balancer_pods
    assert [(peer.name, peer.address) for peer in found] == [("a", "10.244.1.5"), ("b", "10.244.1.6")]
