"""The generated CustomResourceDefinition: the form that Kubernetes wants, and everything described and bounded."""

import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from smtpfleet import api
from smtpfleet.api import crd
from smtpfleet.api.autoscaling import MAX_RELAYS
from smtpfleet.api.pool import SmtpPoolSpec

Node = dict[str, Any]


def _schema() -> Node:
    version: Node = crd.crd()["spec"]["versions"][0]
    schema: Node = version["schema"]["openAPIV3Schema"]
    return schema


def _walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every schema below (and with) a schema, with its path as a user writes it."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _walk(child, f"{path}.{name}")
    if "items" in node:
        yield from _walk(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from _walk(node["additionalProperties"], f"{path}.*")


NODES = dict(_walk(_schema()))
FIELDS = {path: node for path, node in NODES.items() if path and not path.endswith(("[]", ".*"))}


def test_the_walk_sees_the_fields() -> None:
    assert {
        ".spec.replicas",
        ".spec.submission.trustedNetworks",
        ".status.relays",
        ".spec.relay.postfix",
    } <= set(FIELDS)
    assert ".spec.relay.tolerations[].key" in FIELDS


@pytest.mark.parametrize("path", sorted(FIELDS))
def test_every_field_has_a_description(path: str) -> None:
    if path == ".metadata":
        assert FIELDS[path] == {"type": "object"}  # the API server refuses anything more
    else:
        assert FIELDS[path]["description"].endswith("."), "a sentence for kubectl explain"


@pytest.mark.parametrize("path", sorted(NODES))
def test_everything_has_an_upper_bound(path: str) -> None:
    node = NODES[path]
    if path in {"", ".apiVersion", ".kind", ".metadata"}:
        return  # bounded by the API server itself
    match node.get("type"):
        case "array":
            assert "maxItems" in node
        case "object":
            assert "properties" in node or "maxProperties" in node
        case "string":
            assert {"maxLength", "enum"} & set(node) or node.get("format") == "date-time"
        case "integer":
            assert "minimum" in node
            assert "maximum" in node or path.startswith(".status")
        case "boolean":
            pass
        case None:
            assert node["x-kubernetes-int-or-string"]
            assert "maxLength" in node
        case other:
            pytest.fail(f"{path} is a {other}: specs have no floats")


@pytest.mark.parametrize("path", sorted(NODES))
def test_the_schema_is_structural(path: str) -> None:
    forbidden = {
        "$ref",
        "$defs",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "title",
        "nullable",
        "const",
        "propertyNames",
    }
    forbidden |= {"x-kubernetes-preserve-unknown-fields", "exclusiveMinimum", "exclusiveMaximum"}
    assert forbidden & set(NODES[path]) == set()


@pytest.mark.parametrize(
    "path", sorted(path for path, node in NODES.items() if "x-kubernetes-validations" in node)
)
def test_every_rule_says_what_to_do(path: str) -> None:
    for rule in NODES[path]["x-kubernetes-validations"]:
        assert rule["message"]
        if "fieldPath" in rule:
            assert path + rule["fieldPath"] in FIELDS


def test_no_default_breaks_the_rules_of_the_object_it_stands_for() -> None:
    # The API server validates `default: {}` by the rules of the object itself, before the defaults below it.
    assert [
        path
        for path, node in NODES.items()
        if node.get("default") == {} and "x-kubernetes-validations" in node
    ] == [
        # The rules of these hold for an empty map.
        ".spec.balancing.service.annotations",
        ".spec.relay.postfix",
    ]


def test_every_default_of_the_spec_is_the_models() -> None:
    spec = SmtpPoolSpec.model_validate({"submission": {"trustedNetworks": ["10.0.0.0/8"]}})
    dump = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    dump["submission"]["trustedNetworks"] = []  # has a default, which the spec's rule refuses
    assert _filled(FIELDS[".spec"]) == dump


def _filled(node: Node) -> Node:
    """What the API server stores for an empty object."""
    return {
        name: _filled(child) if child.get("properties") else child["default"]
        for name, child in node["properties"].items()
        if "default" in child
    }


def test_only_the_spec_and_hosts_must_be_written() -> None:
    required = {f"{path}.{name}" for path, node in NODES.items() for name in node.get("required", ())}
    assert {path for path in required if not path.startswith(".status")} == {
        ".spec",
        ".spec.autoscaling.maxReplicas",
        ".spec.balancing.backups[].host",
        ".spec.delivery.smarthost.host",
        ".spec.dkim[].domain",
        ".spec.dkim[].selector",
    }


def test_conditions_and_relays_are_merged_by_key() -> None:
    assert FIELDS[".status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert FIELDS[".status.relays"]["x-kubernetes-list-map-keys"] == ["name"]
    assert FIELDS[".status.dkim"]["x-kubernetes-list-map-keys"] == ["domain", "selector"]
    assert FIELDS[".status.relays"]["maxItems"] == FIELDS[".spec.replicas"]["maximum"] == MAX_RELAYS


def test_columns_and_scale_paths_lead_to_fields() -> None:
    version = crd.crd()["spec"]["versions"][0]
    paths = [path for name, path in version["subresources"]["scale"].items()]
    paths += [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    plain = [path for path in paths if "[" not in path and not path.startswith(".metadata")]
    assert set(plain) <= set(FIELDS)


def test_kubectl_get_shows_what_matters_first() -> None:
    columns = crd.crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if "priority" not in column] == [
        "Ready",
        "Relays",
        "Backlog",
        "Deferred",
        "Reason",
        "Age",
    ]


def test_the_file_holds_the_same_as_the_value() -> None:
    assert yaml.safe_load(crd.crd_yaml()) == crd.crd()
    assert "&id" not in crd.crd_yaml(), "anchors are hard to read"


class _Either(BaseModel):
    field: int | str


class _Endless(BaseModel):
    child: "_Endless | None" = None


@pytest.mark.parametrize(("model", "words"), [(_Either, "union"), (_Endless, "contains itself")])
def test_what_has_no_structural_form_is_refused(model: type[BaseModel], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        crd.structural_schema(model)


def test_the_generator_writes_the_file_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    crd.main()
    assert capsys.readouterr().out == crd.crd_yaml()


def test_what_runs_in_a_cluster_needs_no_yaml() -> None:
    modules = [
        f"smtpfleet.api.{module.name}"
        for module in pkgutil.iter_modules(api.__path__)
        if module.name != "crd"
    ]
    program = f"import sys; sys.modules['yaml'] = None; import {', '.join(modules)}"
    subprocess.run([sys.executable, "-c", program], check=True)
