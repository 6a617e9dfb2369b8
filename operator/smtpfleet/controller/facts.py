"""Turns the objects of a pool, as the API server has them, into the facts that decisions are made of. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from smtpfleet.api import names
from smtpfleet.api.reasons import ConditionType, RelayState
from smtpfleet.api.routing import BalancerPeer, RoutingTable, TableError, parse_table
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.domain import facts
from smtpfleet.domain.neighbours import Neighbour
from smtpfleet.resources import balancer, relay
from smtpfleet.resources.drift import Drift, drift
from smtpfleet.resources.marks import is_ours
from smtpfleet.resources.pool import Object, Pool

Children = Mapping[str, Sequence[Object]]
"""Objects with the labels of a pool, by kind."""
Reports = Callable[[str], facts.AgentReport | None]
_CONDITIONS: Final = frozenset(ConditionType)
_STATES: Final = frozenset(RelayState)


def pool_facts(
    pool: Pool,
    stored: Object,
    children: Children,
    report: Reports,
    *,
    on_backups: bool = False,
    neighbours: Sequence[Neighbour] = (),
) -> facts.Pool:
    """Everything known of a pool. ``stored`` is the SmtpPool itself, ``report`` gives the relays' agents' answers,
    ``on_backups`` is the balancers'.
    """
    ours = {
        kind: [thing for thing in things if kind == "Pod" or is_ours(pool.name, pool.uid, thing)]
        for kind, things in children.items()
    }
    return facts.Pool(
        name=pool.name,
        namespace=pool.namespace,
        generation=stored["metadata"]["generation"],
        spec=pool.spec,
        paused=is_paused(stored),
        relays=_relays(pool, ours, report),
        balancer=_balancer(pool, ours),
        balancer_pods=tuple(
            BalancerPeer(name=pod["metadata"]["name"], address=pod["status"]["podIP"])
            for pod in balancer_pods(children)
        ),
        on_backups=on_backups,
        neighbours=tuple(neighbours),
        table=_table(pool, ours),
        previous=stored_status(stored),
        deleted_at=deleted_at(stored),
    )


def stored_status(stored: Object) -> SmtpPoolStatus:
    """The status as it was written last, as far as this release knows what is in it; an empty one if it has another
    form.
    """
    try:
        return SmtpPoolStatus.model_validate(_known(stored.get("status") or {}), extra="ignore")
    except ValidationError:
        return SmtpPoolStatus()


def _known(status: Object) -> Object:
    """Without conditions of types that only a later release has. A relay in a state of one is read as one that starts,
    with all else that is remembered of it.
    """
    conditions, relays = status.get("conditions") or (), status.get("relays") or ()
    return status | {
        "conditions": [condition for condition in conditions if condition.get("type") in _CONDITIONS],
        "relays": [
            entry if entry.get("state") in _STATES else entry | {"state": RelayState.STARTING}
            for entry in relays
        ],
    }


def deleted_at(stored: Object) -> datetime | None:
    """When somebody deleted the pool; None: nobody did."""
    text = stored["metadata"].get("deletionTimestamp")
    return datetime.fromisoformat(text) if text else None


def is_deleted(thing: Object) -> bool:
    """Whether somebody has deleted this object, which may stay for a while."""
    return "deletionTimestamp" in thing["metadata"]


def is_paused(thing: Object) -> bool:
    """Whether a person asked to leave this object alone."""
    return _annotations(thing).get(names.PAUSED_ANNOTATION) == "true"


def relay_pods(children: Children) -> dict[str, list[Object]]:
    """Pods that may run, by relay: those that ended are only remains."""
    result: dict[str, list[Object]] = {}
    for pod in children.get("Pod", ()):
        name = _labels(pod).get(names.RELAY_LABEL)
        if name and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
            result.setdefault(name, []).append(pod)
    return result


def balancer_pods(children: Children) -> list[Object]:
    """Pods of balancers that have an address and may run, by name."""
    found = [
        pod
        for pod in children.get("Pod", ())
        if _labels(pod).get(names.COMPONENT_LABEL) == names.COMPONENT_BALANCER
        and (pod.get("status") or {}).get("podIP")
        and pod["status"].get("phase") not in {"Succeeded", "Failed"}
    ]
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


def _relays(pool: Pool, ours: Children, report: Reports) -> tuple[facts.Relay, ...]:
    deployments = _by_relay(ours, "Deployment")
    claims = _by_relay(ours, "PersistentVolumeClaim")
    services = _by_relay(ours, "Service")
    pods = relay_pods(ours)
    found = []
    for name in deployments.keys() | claims.keys() | services.keys() | pods.keys():
        number = _number(pool.name, name)
        if number is not None:
            found.append(
                _relay(
                    pool, name, number,
                    deployment=deployments.get(name), claim=claims.get(name), service=services.get(name),
                    pods=pods.get(name, []), report=report(name),
                )
            )  # fmt: skip
    return tuple(sorted(found, key=lambda relay: relay.number))


def _relay(
    pool: Pool,
    name: str,
    number: int,
    *,
    deployment: Object | None,
    claim: Object | None,
    service: Object | None,
    pods: Sequence[Object],
    report: facts.AgentReport | None,
) -> facts.Relay:
    ephemeral = _keeps_queue_in_pod(deployment) if deployment else claim is None
    annotations = _annotations(deployment) if deployment else {}
    return facts.Relay(
        name=name,
        number=number,
        deployment=_relay_deployment(pool, name, deployment, ephemeral=ephemeral),
        claim=_claim(claim) if claim else None,
        service=service is not None,
        address=_address(service) if service else "",
        pods=tuple(_pod(pod) for pod in pods),
        agent=report,
        ephemeral=ephemeral,
        wish=facts.Wish.DRAIN if annotations.get(names.DRAIN_ANNOTATION) == "true" else facts.Wish.NONE,
        weight_bound=_weight_bound(annotations.get(names.WEIGHT_ANNOTATION)),
        paused=annotations.get(names.PAUSED_ANNOTATION) == "true",
    )


def _relay_deployment(
    pool: Pool, name: str, live: Object | None, *, ephemeral: bool
) -> facts.Deployment | None:
    if live is None:
        return None
    return _deployment(live, relay.relay_deployment(pool, name, ephemeral=ephemeral))


def _balancer(pool: Pool, ours: Children) -> facts.Deployment | None:
    name = names.balancer_name(pool.name)
    live = next((thing for thing in ours["Deployment"] if thing["metadata"]["name"] == name), None)
    return _deployment(live, balancer.balancer_deployment(pool)) if live else None


def _deployment(live: Object, wanted: Object) -> facts.Deployment:
    status = live.get("status") or {}
    replicas = live["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    return facts.Deployment(
        wanted=replicas,
        ready=status.get("readyReplicas", 0),
        current=(
            status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
            and updated == replicas == status.get("replicas", 0)
        ),
        outdated=drift(wanted, live) is Drift.TEMPLATE,
    )


def _claim(live: Object) -> facts.Claim:
    chosen = "volume.kubernetes.io/selected-node" in _annotations(live)
    return facts.Claim(
        bound=chosen or bool(live["spec"].get("volumeName")),
        leaving=is_deleted(live),
    )


def _pod(live: Object) -> facts.Pod:
    status = live.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    containers = status.get("containerStatuses") or ()
    return facts.Pod(
        uid=live["metadata"]["uid"],
        node=live["spec"].get("nodeName", ""),
        zone=(live["metadata"].get("labels") or {}).get("topology.kubernetes.io/zone", ""),
        address=status.get("podIP", ""),
        running=any("running" in (container.get("state") or {}) for container in containers),
        ready=conditions.get("Ready", {}).get("status") == "True",
        leaving=is_deleted(live),
        trouble=_trouble(conditions, containers),
        created=datetime.fromisoformat(live["metadata"]["creationTimestamp"]),
    )


def _trouble(conditions: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> str:
    """Reasons only: the kubelet's messages count attempts and seconds, so they would never rest."""
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return str(scheduled.get("message") or scheduled.get("reason") or "")
    reasons = ((container.get("state") or {}).get("waiting", {}).get("reason") for container in containers)
    return ", ".join(sorted({reason for reason in reasons if reason}))


def _table(pool: Pool, ours: Children) -> RoutingTable | None:
    name = names.routing_name(pool.name)
    live = next((thing for thing in ours["ConfigMap"] if thing["metadata"]["name"] == name), None)
    text = (live.get("data") or {}).get(names.ROUTING_KEY) if live else None
    if not text:
        return None
    try:
        return parse_table(text)
    except TableError:
        return None  # somebody changed it by hand; it is written anew


def _by_relay(ours: Children, kind: str) -> dict[str, Object]:
    """Objects that carry a relay's name in label and name alike."""
    return {
        thing["metadata"]["name"]: thing
        for thing in ours.get(kind, ())
        if _labels(thing).get(names.RELAY_LABEL) == thing["metadata"]["name"]
    }


def _number(pool: str, name: str) -> int | None:
    text = name.removeprefix(names.relay_name(pool, 0)[:-1])
    return (
        int(text) if text.isascii() and text.isdigit() and names.relay_name(pool, int(text)) == name else None
    )


def _address(service: Object) -> str:
    address = service["spec"].get("clusterIP", "")
    return "" if address == "None" else str(address)


def _weight_bound(text: str | None) -> int:
    """The annotation's bound; what is no number from 0 to 100 is as if it were not there."""
    return int(text) if text and text.isascii() and text.isdigit() and int(text) <= 100 else 100


def _keeps_queue_in_pod(deployment: Object) -> bool:
    volumes = deployment["spec"]["template"]["spec"].get("volumes") or ()
    return any(volume.get("name") == "queue" and "emptyDir" in volume for volume in volumes)


def _labels(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("labels") or {}


def _annotations(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("annotations") or {}
