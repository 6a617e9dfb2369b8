"""The models of a pool: defaults, and what Python refuses even if it got past the API server."""

from typing import Any

import pytest
from pydantic import ValidationError

from smtpfleet.api.balancing import BalancingMethod
from smtpfleet.api.pool import DeletionPolicy, SmtpPoolSpec
from smtpfleet.api.postfix_parameters import OWNED, OWNED_PREFIXES, is_owned, is_parameter_name

SMALLEST: dict[str, Any] = {"submission": {"trustedNetworks": ["10.0.0.0/8"]}}


def _spec(**fields: Any) -> SmtpPoolSpec:
    return SmtpPoolSpec.model_validate({**SMALLEST, **fields})


def test_the_smallest_pool_is_two_durable_relays_behind_two_balancers() -> None:
    spec = _spec()
    assert (spec.replicas, spec.balancing.replicas) == (2, 2)
    assert spec.balancing.method is BalancingMethod.LEAST_CONNECTIONS
    assert (spec.relay.storage.ephemeral, spec.relay.storage.size) == (False, "1Gi")
    assert spec.deletion_policy is DeletionPolicy.RETAIN
    assert spec.delivery.smarthost is None


def test_sizing_by_the_queues_has_defaults_for_all_but_its_largest_number() -> None:
    sizing = _spec(autoscaling={"maxReplicas": 10}).autoscaling
    assert sizing is not None
    assert sizing.model_dump(by_alias=True) == {
        "minReplicas": 2,
        "maxReplicas": 10,
        "targetDrainTime": "60s",
        "scaleUp": {"stabilizationWindow": "0s", "maxStep": 4, "period": "30s"},
        "scaleDown": {"stabilizationWindow": "5m", "maxStep": 1, "period": "60s"},
    }


def test_a_spec_reads_back_what_it_writes() -> None:
    spec = _spec(
        replicas=3, delivery={"smarthost": {"host": "smtp.example.com"}}, relay={"postfix": {"a": "b"}}
    )
    assert SmtpPoolSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec


def test_a_spec_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        _spec().replicas = 3  # type: ignore[misc] # what is tested


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"replicas": 0}, "greater than or equal to 1"),
        ({"replicas": 201}, "less than or equal to 200"),
        ({"autoscaling": {}}, "Field required"),
        ({"replicas": 3, "autoscaling": {"maxReplicas": 5}}, "take replicas out"),
        ({"autoscaling": {"maxReplicas": 1}}, "minReplicas 2 must not be larger"),
        ({"autoscaling": {"maxReplicas": 201}}, "less than or equal to 200"),
        ({"autoscaling": {"minReplicas": 0, "maxReplicas": 2}}, "greater than or equal to 1"),
        ({"autoscaling": {"maxReplicas": 5, "targetDrainTime": "0s"}}, "from 1s to 1h"),
        ({"autoscaling": {"maxReplicas": 5, "scaleUp": {"period": "31m"}}}, "from 1s to 30m"),
        ({"autoscaling": {"maxReplicas": 5, "scaleDown": {"maxStep": 0}}}, "greater than or equal to 1"),
        ({"autoscaling": {"maxReplicas": 5, "scaleDown": {"stabilizationWindow": "2h"}}}, "from 0s to 1h"),
        ({"balancing": {"replicas": 21}}, "less than or equal to 20"),
        ({"replica": 1}, "Extra inputs"),
        ({"relay": {"storage": {"size": "25Mi"}}}, "not larger than one message"),
        ({"relay": {"postfix": {"mynetworks": "0.0.0.0/0"}}}, "take mynetworks out"),
        ({"relay": {"postfix": {"a": "b\nmynetworks = 0.0.0.0/0"}}}, "more than one line"),
        ({"relay": {"postfix": {"a\nb": "c"}}}, "no main.cf parameter"),
        ({"relay": {"postfix": {"A": "c"}}}, "no main.cf parameter"),
        ({"delivery": {"smarthost": {"host": "a b"}}}, "not a host name"),
        ({"delivery": {"smarthost": {"host": ""}}}, "at least 1 character"),
        ({"delivery": {"queueLifetime": "0s"}}, "at least 1s"),
        ({"submission": {"trustedNetworks": ["0.0.0.0/0"]}}, "open relay"),
        ({"submission": {"tls": {"mode": "Always"}}}, "'None', 'Optional' or 'Required'"),
        (
            {"submission": {"tls": {"mode": "None"}, "authentication": {"secretName": "users"}}},
            "users need TLS",
        ),
        ({"submission": {"authentication": {"secretName": "a b"}}}, "not a name of a Secret"),
        ({"submission": {"tls": {"secretName": "My_Secret"}}}, "not a name of a Secret"),
        ({"submission": {"tls": {"secretName": "../other"}}}, "not a name of a Secret"),
        ({"health": {"interval": "5"}}, "such as 5s or 1m30s"),
        ({"health": {"interval": "500ms"}}, "such as 5s or 1m30s"),
        ({"health": {"interval": "10m"}}, "must be from 1s to 5m"),
        ({"health": {"timeout": "0s"}}, "must be from 1s to 1m"),
        ({"health": {"interval": "3s"}}, "not shorter than health.interval"),
        ({"health": {"ejectionTime": "11m"}}, "must be from 1s to 10m"),
        ({"health": {"slowStart": "11m"}}, "must be from 0s to 10m"),
        ({"health": {"unhealthyThreshold": 0}}, "greater than or equal to 1"),
        ({"health": {"maxEjectedPercent": 101}}, "less than or equal to 100"),
        ({"relay": {"resources": {"requests": {"cpu": "two"}}}}, "pattern"),
        ({"relay": {"resources": {"requests": {"cpu": True}}}}, "valid string"),
    ],
)
def test_python_refuses_what_the_schema_refuses(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        _spec(**fields)


def test_an_ephemeral_queue_needs_no_size() -> None:
    assert _spec(relay={"storage": {"size": "1Mi", "ephemeral": True}}).relay.storage.ephemeral


def test_a_whole_number_is_a_quantity_as_yaml_reads_it() -> None:
    resources = _spec(relay={"resources": {"requests": {"cpu": 2, "memory": "1Gi"}}}).relay.resources
    assert resources.requests == {"cpu": "2", "memory": "1Gi"}


@pytest.mark.parametrize(
    "parameter",
    [
        "mynetworks",  # who may relay
        "smtpd_relay_restrictions",
        "smtpd_sasl_auth_enable",
        "mailbox_command",  # runs commands
        "queue_directory",  # where mail is
        "hash_queue_depth",
        "maillog_file",
        "message_size_limit",  # set from the spec
        "multi_instance_enable",
        "import_environment",
    ],
)
def test_parameters_that_hold_up_a_guarantee_belong_to_the_operator(parameter: str) -> None:
    assert is_owned(parameter)


@pytest.mark.parametrize(
    "parameter", ["smtp_tls_loglevel", "header_checks", "default_destination_rate_delay"]
)
def test_other_parameters_belong_to_the_user(parameter: str) -> None:
    assert not is_owned(parameter)


def test_every_owned_name_is_one_that_could_have_been_written() -> None:
    assert all(map(is_parameter_name, OWNED))
    assert all(map(is_parameter_name, OWNED_PREFIXES))
