"""Pools as users write them: the smallest, one with everything set, and bad ones with words of their refusal."""

from typing import Any

TRUSTED: dict[str, Any] = {"submission": {"trustedNetworks": ["10.0.0.0/8"]}}
EVERYTHING: dict[str, Any] = {
    "replicas": 3,
    "submission": {
        "hostname": "relay.example.com",
        "trustedNetworks": ["10.0.0.0/8", "192.168.0.0/16", "2001:db8::/32", "fd00::/8"],
        "messageSizeLimit": "10Mi",
        "tls": {"mode": "Required", "secretName": "relay.example.com"},
    },
    "delivery": {"smarthost": {"host": "smtp.provider.example", "port": 2525}, "queueLifetime": "1d12h"},
    "balancing": {"method": "SourceAddress", "replicas": 3},
    "relay": {
        "image": "registry.example.com/relay@sha256:" + "0" * 64,
        "storage": {"size": "20Gi", "storageClassName": "fast", "ephemeral": False},
        "resources": {"requests": {"cpu": 1, "memory": "256Mi"}, "limits": {"cpu": "1500m", "memory": "1Gi"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [
            {"key": "mail", "operator": "Equal", "value": "only", "effect": "NoSchedule"},
            {"operator": "Exists"},
        ],
        "priorityClassName": "important",
        "postfix": {"smtp_tls_loglevel": "1", "default_destination_concurrency_limit": "50"},
    },
    "health": {
        "interval": "10s",
        "timeout": "5s",
        "unhealthyThreshold": 2,
        "healthyThreshold": 3,
        "maxEjectedPercent": 34,
        "ejectionTime": "1m30s",
        "slowStart": "0s",
    },
    "deletionPolicy": "Delete",
}


def trusting(*networks: str) -> dict[str, Any]:
    """A spec that trusts these networks."""
    return {"submission": {"trustedNetworks": list(networks)}}


def relay(**fields: Any) -> dict[str, Any]:
    """The smallest spec with these fields of its relays."""
    return {**TRUSTED, "relay": fields}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "open relay, IPv4": (trusting("0.0.0.0/0"), "the pool would be an open relay"),
    "open relay, IPv6": (trusting("::/0"), "the pool would be an open relay"),
    "half of the Internet": (trusting("0.0.0.0/1"), "list your own networks, such as 10.0.0.0/8"),
    "the other half, listed second": (trusting("10.0.0.0/8", "128.0.0.0/1"), "trustedNetworks[1]"),
    "a range too wide": (trusting("10.0.0.0/7"), "the pool would be an open relay"),
    "all of IPv6 in use": (trusting("2000::/3"), "the pool would be an open relay"),
    "IPv4 as 6to4": (trusting("2002::/16"), "stand for any IPv4 address"),
    "IPv4 as NAT64": (trusting("64:ff9b::/96"), "stand for any IPv4 address"),
    "IPv4 as Teredo": (trusting("2001::/32"), "stand for any IPv4 address"),
    "IPv4 in IPv6": (trusting("::/96"), "stand for any IPv4 address"),
    "IPv4-mapped": (trusting("::ffff:0:0/96"), "not a network"),
    "host bits": (trusting("10.1.2.3/8"), "write the network's own address"),
    "an address without a length": (
        trusting("10.0.0.0"),
        "not a network: write an address and a prefix length",
    ),
    "a name for a network": (trusting("intranet"), "not a network"),
    "a network with a line break": (trusting("10.0.0.0/8\n0.0.0.0/0"), "not a network"),
    "too many networks": (trusting(*(f"10.{i}.0.0/16" for i in range(65))), "must have at most 64 items"),
    "nobody may relay: no spec": ({}, "nobody may hand in mail"),
    "nobody may relay: empty submission": ({"submission": {}}, "nobody may hand in mail"),
    "nobody may relay: empty list": (trusting(), "nobody may hand in mail"),
    "replicas 0": ({**TRUSTED, "replicas": 0}, "greater than or equal to 1"),
    "replicas -1": ({**TRUSTED, "replicas": -1}, "greater than or equal to 1"),
    "replicas 201": ({**TRUSTED, "replicas": 201}, "less than or equal to 200"),
    "replicas 1.5": ({**TRUSTED, "replicas": 1.5}, "integer"),
    "replicas as text": ({**TRUSTED, "replicas": "2"}, "must be of type integer"),
    "balancers 0": ({**TRUSTED, "balancing": {"replicas": 0}}, "greater than or equal to 1"),
    "balancers 21": ({**TRUSTED, "balancing": {"replicas": 21}}, "less than or equal to 20"),
    "unknown method": ({**TRUSTED, "balancing": {"method": "Best"}}, 'Unsupported value: "Best"'),
    "bad duration": ({**TRUSTED, "delivery": {"queueLifetime": "5 days"}}, "such as 30s, 10m or 5d"),
    "empty duration": ({**TRUSTED, "delivery": {"queueLifetime": ""}}, "such as 30s, 10m or 5d"),
    "units in disorder": ({**TRUSTED, "delivery": {"queueLifetime": "1s5d"}}, "such as 30s, 10m or 5d"),
    "no time at all": ({**TRUSTED, "delivery": {"queueLifetime": "0s"}}, "write at least 1s"),
    "too short": ({**TRUSTED, "delivery": {"queueLifetime": "999ms"}}, "write at least 1s"),
    "smarthost without host": ({**TRUSTED, "delivery": {"smarthost": {}}}, "host: Required value"),
    "smarthost with empty host": ({**TRUSTED, "delivery": {"smarthost": {"host": ""}}}, "at least 1 chars"),
    "smarthost, port 0": ({**TRUSTED, "delivery": {"smarthost": {"host": "a", "port": 0}}}, "or equal to 1"),
    "smarthost, port 65536": ({**TRUSTED, "delivery": {"smarthost": {"host": "a", "port": 65536}}}, "65535"),
    "smarthost in brackets": ({**TRUSTED, "delivery": {"smarthost": {"host": "[a]"}}}, "not a host name"),
    "bad hostname": ({"submission": {**TRUSTED["submission"], "hostname": "my_host"}}, "not a host name"),
    "hostname with a line break": (
        {"submission": {**TRUSTED["submission"], "hostname": "a\nb"}},
        "not a host name",
    ),
    "bad message size": ({"submission": {**TRUSTED["submission"], "messageSizeLimit": "25MB"}}, "not a size"),
    "unknown TLS mode": (
        {"submission": {**TRUSTED["submission"], "tls": {"mode": "Always"}}},
        'Unsupported value: "Always"',
    ),
    "bad name of a Secret": (
        {"submission": {**TRUSTED["submission"], "tls": {"secretName": "../other"}}},
        "not a name of a Secret",
    ),
    "bad storage size": (relay(storage={"size": "1 GiB"}), "such as 25Mi or 1Gi"),
    "storage smaller than a message": (relay(storage={"size": "25Mi"}), "no message fits into the queue"),
    "forbidden parameter": (
        relay(postfix={"mynetworks": "0.0.0.0/0"}),
        "the main.cf parameter mynetworks itself",
    ),
    "forbidden family": (
        relay(postfix={"smtpd_sasl_auth_enable": "yes"}),
        "the main.cf parameter smtpd_sasl_auth_enable itself",
    ),
    "line break in a value": (
        relay(postfix={"a": "b\nmynetworks = 0.0.0.0/0"}),
        "a main.cf value is one line",
    ),
    "line break in a parameter": (
        relay(postfix={"a\nmynetworks": "b"}),
        "main.cf parameters are lower-case names",
    ),
    "parameter in capitals": (relay(postfix={"Mynetworks": "b"}), "main.cf parameters are lower-case names"),
    "parameter of a length": (relay(postfix={"a" * 65: "b"}), "at most 64 characters"),
    "bad quantity": (relay(resources={"requests": {"cpu": "two"}}), "should match"),
    "negative quantity": (relay(resources={"requests": {"cpu": -1}}), "greater than or equal to 0"),
    "bad effect": (relay(tolerations=[{"effect": "Sometimes"}]), "effect"),
    "probe interval of days": ({**TRUSTED, "health": {"interval": "1d"}}, "such as 5s or 1m30s"),
    "probe interval too long": ({**TRUSTED, "health": {"interval": "10m"}}, "must be from 1s to 5m"),
    "probes that overlap": ({**TRUSTED, "health": {"interval": "3s"}}, "shorter than health.interval"),
    "probes that overlap by their timeout": (
        {**TRUSTED, "health": {"timeout": "5s"}},
        "shorter than health.interval",
    ),
    "no probe may fail": ({**TRUSTED, "health": {"unhealthyThreshold": 0}}, "greater than or equal to 1"),
    "more than all ejected": ({**TRUSTED, "health": {"maxEjectedPercent": 101}}, "less than or equal to 100"),
    "ejection without an end": ({**TRUSTED, "health": {"ejectionTime": "1h"}}, "must be from 1s to 10m"),
    "slow start of hours": ({**TRUSTED, "health": {"slowStart": "2h"}}, "must be from 0s to 10m"),
    "unknown deletion policy": ({**TRUSTED, "deletionPolicy": "Burn"}, 'Unsupported value: "Burn"'),
    "unknown field": ({**TRUSTED, "replica": 3}, 'unknown field "spec.replica"'),
    "unknown field below": (relay(storage={"sise": "2Gi"}), 'unknown field "spec.relay.storage.sise"'),
}
