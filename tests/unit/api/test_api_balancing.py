"""Rules of ``spec.balancing`` and of who may send, as the models enforce them beside the API server."""

from typing import Any

import pytest
from pydantic import ValidationError

from smtpfleet.api.balancing import PRIVATE_NETWORKS
from smtpfleet.api.pool import SmtpPoolSpec

TRUSTED = {"trustedNetworks": ["10.0.0.0/8"]}


def _spec(*, submission: dict[str, Any] | None = None, **balancing: Any) -> SmtpPoolSpec:
    return SmtpPoolSpec.model_validate({"submission": submission or TRUSTED, "balancing": balancing})


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_a_service_that_hides_clients_is_refused_unless_an_outer_balancer_tells_who_they_are(
    kind: str,
) -> None:
    hidden = {"type": kind, "externalTrafficPolicy": "Cluster"}
    with pytest.raises(ValidationError, match="hides who the client is"):
        _spec(service=hidden)
    assert _spec(service=hidden, acceptProxyProtocol=True).balancing.service.type == kind
    assert _spec(service=hidden | {"externalTrafficPolicy": "Local"}).balancing.service.type == kind


def test_a_cluster_ip_hides_nobody() -> None:
    assert _spec(service={"type": "ClusterIP", "externalTrafficPolicy": "Cluster"})


def test_an_outer_balancer_is_believed_from_private_networks_by_default() -> None:
    assert _spec(acceptProxyProtocol=True).balancing.proxy_protocol_sources == PRIVATE_NETWORKS


@pytest.mark.parametrize(
    "balancing",
    [
        {"proxyProtocolSources": []},
        {"proxyProtocolSources": ["0.0.0.0/0"]},
        {"backups": [{"host": ""}]},
        {"backups": [{"host": "a b"}]},
        {"backups": [{"host": "a\n    server evil"}]},
        {"backups": [{"host": "a", "port": 0}]},
        {"backups": [{"host": "a", "weight": 3}]},
        {"service": {"annotations": {"smtpfleet.io/applied": "x"}}},
        {"service": {"annotations": {"a b": "x"}}},
        {"service": {"loadBalancerSourceRanges": ["192.0.2.1"]}},
        {"service": {"loadBalancerSourceRanges": ["x/8"]}},
    ],
)
def test_bad_balancing_is_refused(balancing: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _spec(**balancing)


@pytest.mark.parametrize(
    "domain", ["", ".", "a@b", "*.example.com", "bücher.example", "example..com", "a/b", "a$"]
)
def test_what_is_no_domain_is_refused_as_a_senders(domain: str) -> None:
    with pytest.raises(ValidationError):
        _spec(submission=TRUSTED | {"allowedSenderDomains": [domain]})


@pytest.mark.parametrize(
    "domain", ["example.com", ".example.com", "EXAMPLE.com", "xn--bcher-kva.example", "localhost"]
)
def test_domains_and_what_is_below_them_are_taken(domain: str) -> None:
    found = _spec(submission=TRUSTED | {"allowedSenderDomains": [domain]})
    assert found.submission.allowed_sender_domains == (domain,)
