"""Generates the CustomResourceDefinition from the models: ``python -m smtpfleet.api.crd > crds/….yaml``.

Kubernetes wants structural schemas: no references, no ``anyOf`` with null, no titles, defaults in place. The
models say everything; this module only changes the form. It is a command for development: nothing that runs
in a cluster imports it, so PyYAML need not be in the images.
"""

import sys
from typing import Any, Final

import yaml
from pydantic import BaseModel

from smtpfleet.api import names
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.api.values import rule

CRD_NAME: Final = f"{names.PLURAL}.{names.GROUP}"
HEADER: Final = (
    "# Generated from operator/smtpfleet/api by `make generate`: change the models, not this file.\n"
)

_DROPPED: Final = frozenset({"title", "$defs", "propertyNames"})
_FIRST: Final = ("description", "type", "format", "enum", "default")
_LAST: Final = ("required", "properties", "items", "additionalProperties")
# What a pool without the object means something else than a pool with an empty one.
_NO_DEFAULT: Final = frozenset({"smarthost", "autoscaling"})
_COLUMNS: Final = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Relays", "string", ".status.readyOfDesired", 0),
    ("Backlog", "integer", ".status.backlog", 0),
    ("Deferred", "integer", ".status.deferred", 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Scaling", "string", '.status.conditions[?(@.type=="ScalingActive")].reason', 1),
    ("Endpoint", "string", ".status.endpoint", 1),
    ("Method", "string", ".spec.balancing.method", 1),
    ("Message", "string", '.status.conditions[?(@.type=="Ready")].message', 1),
)
_NAME_RULE: Final = rule(
    "size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",
    "the name must be at most 40 lower-case letters, digits and hyphens, and begin with a letter:"
    " Services and relays are named after it",
)

_ELSEWHERE_RULE: Final = rule(
    "self.spec.delivery.routes.all(r, r.pool != self.metadata.name)",
    "a route leads to this pool itself: name another pool",
    field_path=".spec.delivery.routes",
)


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema in the form that apiextensions/v1 accepts.

    Raises:
        ValueError: a field has a type without such a form (a union, a recursive model).
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    result: dict[str, Any] = _inline(schema, schema.get("$defs", {}), within=())
    return result


def _inline(node: Any, definitions: dict[str, Any], within: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions, within) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[1]
        if name in within:
            raise ValueError(f"{name} contains itself: no structural form")
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _inline({**definitions[name], **beside}, definitions, (*within, name))
    if "anyOf" in node:
        present = [option for option in node["anyOf"] if option != {"type": "null"}]
        if len(present) != 1:
            raise ValueError(f"a union has no structural form: {present}")
        # An optional field has no default: absent and null are the same to the API server.
        beside = {key: value for key, value in node.items() if key not in {"anyOf", "default"}}
        return _inline({**present[0], **beside}, definitions, within)
    return _object(node, definitions, within)


def _object(node: dict[str, Any], definitions: dict[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            result[key] = {name: _inline(child, definitions, within) for name, child in value.items()}
        elif key == "default" and isinstance(value, dict):
            # Defaults of the fields below fill the rest in, so each default stands in one place.
            result[key] = {}
        elif key == "additionalProperties" and not isinstance(value, dict):
            continue  # unknown fields are the API server's business: pruned, or refused if the user asks for it
        elif key not in _DROPPED:
            result[key] = _inline(value, definitions, within)
    return result


def _default_objects(node: dict[str, Any]) -> None:
    """Give every optional object of the spec the default ``{}``, so that defaults below it apply."""
    required = set(node.get("required", ()))
    for name, child in node.get("properties", {}).items():
        if child.get("type") == "object":
            _default_objects(child)
            if name not in required | _NO_DEFAULT:
                child.setdefault("default", {})


def _for_reading(node: Any) -> Any:
    """The same schema with its keys in one order: what it is, then its rules, then what it contains."""
    if isinstance(node, list):
        return [_for_reading(item) for item in node]
    if not isinstance(node, dict):
        return node
    middle = sorted(key for key in node if key not in (*_FIRST, *_LAST))
    result = {key: _for_reading(node[key]) for key in (*_FIRST, *middle, *_LAST) if key in node}
    if "properties" in node:
        result["properties"] = {name: _for_reading(child) for name, child in node["properties"].items()}
    return result


def _root(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "A pool of SMTP relays behind balancers.",
        "required": ["spec"],
        "x-kubernetes-validations": [_NAME_RULE, _ELSEWHERE_RULE],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Version of this form: {names.API_VERSION}."},
            "kind": {"type": "string", "description": f"{names.KIND}."},
            "metadata": {"type": "object"},  # anything more is refused: the API server has its own schema
            "spec": spec,
            "status": structural_schema(SmtpPoolStatus),
        },
    }


def _version(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        # A default written out is not stored: it would make two appliers of the same file conflict.
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})
            for name, kind, path, priority in _COLUMNS
        ],
        "schema": {"openAPIV3Schema": _for_reading(_root(spec))},
    }


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition ``smtppools.smtpfleet.io``."""
    spec = structural_schema(SmtpPoolSpec)
    _default_objects(spec)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD_NAME},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": ["smtp"],
                "categories": ["mail"],
            },
            "versions": [_version(spec)],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Block style without anchors, lists indented below their key."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def crd_yaml() -> str:
    """The CustomResourceDefinition as the text of its file."""
    return HEADER + yaml.dump(crd(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def main() -> None:
    """Write the CustomResourceDefinition to standard output."""
    sys.stdout.write(crd_yaml())


if __name__ == "__main__":
    main()
