"""Whether an object in the cluster still is what the operator wants, so that nothing is written without need.

Guarantees: a field that the operator sets and somebody changed or removed is noticed; a field that the
operator no longer sets is noticed (by the digest of what it applied last); what the API server filled in, and
what others added where Kubernetes merges, is not: foreign labels, annotations and fields survive.

Which lists and maps Kubernetes merges and which it replaces as a whole follows the ``x-kubernetes-list-type``
and ``x-kubernetes-map-type`` of its OpenAPI schema, for the kinds that the operator writes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from smtpfleet.api.names import APPLIED_ANNOTATION
from smtpfleet.resources import quantities
from smtpfleet.resources.pool import Object

_MERGED_BY: Final = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ownerReferences": "uid",
}
_ATOMIC_MAPS: Final = frozenset(
    {"selector", "podSelector", "namespaceSelector", "labelSelector", "matchLabels", "nodeSelector"}
)
_QUANTITY_MAPS: Final = frozenset({"requests", "limits"})


class Drift(StrEnum):
    """How an object differs from what is wanted of it."""

    NONE = "None"
    OBJECT = "Object"
    """Something that can be put right at once."""
    TEMPLATE = "Template"
    """The pod template of a Deployment: to put it right replaces pods."""


def stamped(desired: Object) -> Object:
    """``desired`` with the annotation that tells what was applied."""
    metadata = desired["metadata"]
    annotations = metadata.get("annotations", {}) | {APPLIED_ANNOTATION: _stamp(desired)}
    return desired | {"metadata": metadata | {"annotations": annotations}}


def is_stamped(desired: Object, live: Object) -> bool:
    """Whether exactly ``desired`` was applied last: then what differs was changed by somebody else."""
    annotations = live.get("metadata", {}).get("annotations") or {}
    return bool(annotations.get(APPLIED_ANNOTATION) == _stamp(desired))


def drift(desired: Object, live: Object) -> Drift:
    """Compare a builder's object (not stamped) with the one in the cluster."""
    rest, template = _split(desired)
    live_rest, live_template = _split(live)
    stamp = (live.get("metadata", {}).get("annotations") or {}).get(APPLIED_ANNOTATION, "")
    stamped_template = stamp.partition("/")[2]
    if template is not None and (
        not _covers(template, live_template) or stamped_template not in {"", _digest(template)}
    ):
        return Drift.TEMPLATE
    if stamp != _stamp(desired) or not _covers(rest, live_rest):
        return Drift.OBJECT
    return Drift.NONE


def _stamp(desired: Object) -> str:
    rest, template = _split(desired)
    return _digest(rest) if template is None else f"{_digest(rest)}/{_digest(template)}"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _split(thing: Object) -> tuple[Object, Any]:
    """An object without its pod template, and the template (None where there is none)."""
    spec = thing.get("spec")
    if not isinstance(spec, Mapping) or "template" not in spec:
        return thing, None
    without = {key: value for key, value in spec.items() if key != "template"}
    return thing | {"spec": without}, spec["template"]


def _covers(wanted: Any, live: Any, field: str = "") -> bool:
    """Whether ``live`` has everything that ``wanted`` has."""
    if isinstance(wanted, Mapping):
        return _covers_map(wanted, live, field)
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return _covers_list(wanted, live, field)
    return bool(wanted == live)


def _covers_map(wanted: Mapping[str, Any], live: Any, field: str) -> bool:
    if not isinstance(live, Mapping):
        return not wanted and live is None
    if field in _ATOMIC_MAPS:
        return wanted == live
    if field in _QUANTITY_MAPS:
        return all(key in live and quantities.same(value, live[key]) for key, value in wanted.items())
    return all(_covers(value, live.get(key), key) for key, value in wanted.items())


def _covers_list(wanted: Sequence[Any], live: Any, field: str) -> bool:
    if not isinstance(live, Sequence) or isinstance(live, str):
        return not wanted and live is None
    key = _MERGED_BY.get(field) or _port_key(field, wanted)
    if key is None:
        return list(wanted) == list(live)
    present = {item.get(key): item for item in live if isinstance(item, Mapping)}
    return all(item[key] in present and _covers(item, present[item[key]]) for item in wanted)


def _port_key(field: str, wanted: Sequence[Any]) -> str | None:
    """Ports of containers and Services are merged by number, those of a NetworkPolicy replaced as a whole."""
    if field != "ports" or not wanted:
        return None
    return next((key for key, mark in _PORT_MARKS if mark in wanted[0]), None)


_PORT_MARKS: Final = (("containerPort", "containerPort"), ("port", "targetPort"))
