"""Least privilege: the rules that are rendered, the rules that docs/rbac.md explains, and what the code needs agree."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from smtpfleet.cluster import kinds
from testbed import generate

ROOT = Path(__file__).resolve().parents[2]
Right = tuple[str, str, str]  # group, resource (with a name in brackets), verb

ROLES = (
    ("ClusterRole", "smtpfleet"),
    ("ClusterRole", "smtpfleet-view"),
    ("ClusterRole", "smtpfleet-edit"),
    ("Role", "smtpfleet-lease"),
    ("Role", "smtpfleet-test"),
)


@cache
def _rendered() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (thing["kind"], thing["metadata"]["name"]): thing
        for thing in yaml.safe_load_all(generate.rendered_chart(ROOT / generate.CHART, tests=True))
        if thing and thing["kind"] in {"Role", "ClusterRole"}
    }


def _rights(kind: str, name: str) -> set[Right]:
    return {
        (group or "core", resource + suffix, verb)
        for rule in _rendered()[kind, name]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for suffix in [f" ({only})" for only in rule.get("resourceNames", ())] or [""]
        for verb in rule["verbs"]
    }


def _explained(section: str) -> list[list[str]]:
    """The rows of the table below a heading of docs/rbac.md, without its header."""
    text = (ROOT / "docs/rbac.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert all(row[-1].strip() for row in rows[2:]), "each rule has a reason"
    return rows[2:]


def _words(cell: str) -> list[str]:
    return re.split(r", *", cell)


def _explained_rights(rows: list[list[str]]) -> set[Right]:
    return {
        (group, resource, verb)
        for group, resources, verbs, _ in rows
        for resource in _words(resources)
        for verb in _words(verbs)
    }


@pytest.mark.parametrize(
    ("section", "kind", "name"),
    [
        ("The operator, where pools are", "ClusterRole", "smtpfleet"),
        ("The operator, in its own namespace", "Role", "smtpfleet-lease"),
    ],
)
def test_each_right_of_the_operator_is_explained_and_none_is_missing(
    section: str, kind: str, name: str
) -> None:
    assert _explained_rights(_explained(section)) == _rights(kind, name)


def test_the_rights_are_what_the_operators_code_uses() -> None:
    pool = {(kinds.POOL, verb) for verb in ("get", "list", "watch", "patch")}
    applied = {(kind, verb) for kind in kinds.APPLIED for verb in ("get", "list", "watch", "create", "patch")}
    pods = {(kinds.POD, verb) for verb in ("list", "watch", "delete")}
    deleted = {(kind, "delete") for kind in (kinds.CLAIM, kinds.DEPLOYMENT, kinds.SERVICE)}
    events = {(kinds.EVENT, "create")}
    used = {
        (kind.group or "core", kind.plural, verb) for kind, verb in pool | applied | pods | deleted | events
    }
    extra = {
        ("smtpfleet.io", "smtppools/status", "patch"),
        ("smtpfleet.io", "smtppools/finalizers", "update"),
    }
    assert _rights("ClusterRole", "smtpfleet") == used | extra


@pytest.mark.parametrize("role", ["view", "edit"])
def test_each_right_of_people_is_explained(role: str) -> None:
    rows = [row[1:] for row in _explained("People") if row[0] == role]
    assert _explained_rights(rows) == _rights("ClusterRole", f"smtpfleet-{role}")
    assert _rendered()["ClusterRole", f"smtpfleet-{role}"]["metadata"]["labels"][
        f"rbac.authorization.k8s.io/aggregate-to-{role}"
    ]


def test_the_document_is_about_all_roles() -> None:
    assert set(_rendered()) == set(ROLES)


@pytest.mark.parametrize(("kind", "name"), ROLES)
def test_no_rule_is_wide_open(kind: str, name: str) -> None:
    for rule in _rendered()[kind, name]["rules"]:
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not words & {"*", "escalate", "bind", "impersonate", "pods/exec", "nodes"}
        assert "nonResourceURLs" not in rule


def test_only_the_operators_own_role_reaches_secrets_and_it_deletes_none() -> None:
    secrets = {(name, verb) for role in ROLES for _, name, verb in _rights(*role) if "secrets" in name}
    assert secrets == {("secrets", verb) for verb in ("get", "list", "watch", "create", "patch")}
    assert not any("secrets" in resource for role in ROLES[1:] for _, resource, _ in _rights(*role))


def test_the_test_may_touch_only_its_own_pool() -> None:
    assert _rights("Role", "smtpfleet-test") == {
        ("smtpfleet.io", "smtppools", "create"),
        ("smtpfleet.io", "smtppools (smtpfleet-test)", "get"),
        ("smtpfleet.io", "smtppools (smtpfleet-test)", "delete"),
    }
