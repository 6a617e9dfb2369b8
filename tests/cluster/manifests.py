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
        "authentication": {"secretName": "outbound-users"},
        "allowedSenderDomains": ["example.com", ".example.com"],
        "maxConnectionsPerClient": 20,
        "maxBandwidthPerClient": "20Mi",
    },
    "delivery": {
        "smarthost": {
            "host": "smtp.provider.example",
            "port": 2525,
            "tls": "Verified",
            "secretName": "provider",
        },
        "routes": [
            {"domain": "partner.example", "host": "mx.partner.example", "port": 25, "tls": "Required"},
            {"domain": ".partner.example", "tls": "None"},
            {"domain": "xn--bcher-kva.example", "host": "192.0.2.1"},
            {
                "senderDomain": "news.example",
                "host": "smtp.provider.example",
                "tls": "Required",
                "secretName": "bulk",
            },
            {"senderDomain": ".news.example", "pool": "bulk"},
        ],
        "maxConnectionsPerDestination": 50,
        "queueLifetime": "1d12h",
    },
    "balancing": {
        "method": "SourceAddress",
        "replicas": 3,
        "acceptProxyProtocol": True,
        "proxyProtocolSources": ["192.0.2.0/28"],
        "backups": [
            {"host": "smtp.provider.example"},
            {"host": "other.mail.svc", "port": 587, "submissionsPort": 465, "proxyProtocol": True},
        ],
        "service": {
            "type": "LoadBalancer",
            "annotations": {"example.net/size": "small"},
            "externalTrafficPolicy": "Cluster",
            "loadBalancerSourceRanges": ["198.51.100.0/24"],
            "loadBalancerClass": "example.net/lb",
        },
    },
    "dkim": [
        {"domain": "example.com", "selector": "s1", "secretName": "dkim-example-com"},
        {"domain": "example.com", "selector": "2026-11.e", "algorithm": "Ed25519"},
    ],
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
        "postfix": {"smtp_tls_loglevel": "1", "default_destination_rate_delay": "1s"},
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


def signed(*keys: dict[str, str]) -> dict[str, Any]:
    """The smallest spec with these DKIM keys, of example.com and s1 unless they say otherwise."""
    return {**TRUSTED, "dkim": [{"domain": "example.com", "selector": "s1"} | key for key in keys]}


def relay(**fields: Any) -> dict[str, Any]:
    """The smallest spec with these fields of its relays."""
    return {**TRUSTED, "relay": fields}


def smarthost(**fields: Any) -> dict[str, Any]:
    """The smallest spec with a smarthost of these fields."""
    return {**TRUSTED, "delivery": {"smarthost": {"host": "smtp.example", **fields}}}


def routes(*given: dict[str, Any]) -> dict[str, Any]:
    """The smallest spec with these routes."""
    return {**TRUSTED, "delivery": {"routes": list(given)}}


def balancing(**fields: Any) -> dict[str, Any]:
    """The smallest spec with these fields of its balancing."""
    return {**TRUSTED, "balancing": fields}


def submission(**fields: Any) -> dict[str, Any]:
    """The smallest spec with these fields of its submission."""
    return {"submission": {**TRUSTED["submission"], **fields}}


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
    "users without TLS": (
        {"submission": {"authentication": {"secretName": "users"}, "tls": {"mode": "None"}}},
        "users need TLS, or their passwords would be sent in clear",
    ),
    "users and trusted networks without TLS": (
        {
            "submission": {
                **TRUSTED["submission"],
                "authentication": {"secretName": "users"},
                "tls": {"mode": "None"},
            }
        },
        "set tls.mode to Optional or Required",
    ),
    "users in a Secret without a name": (
        {"submission": {"authentication": {"secretName": ""}}},
        "or name in authentication.secretName a Secret with users",
    ),
    "users in a Secret of another namespace": (
        {"submission": {**TRUSTED["submission"], "authentication": {"secretName": "other/users"}}},
        "not a name of a Secret",
    ),
    "replicas 0": ({**TRUSTED, "replicas": 0}, "greater than or equal to 1"),
    "replicas -1": ({**TRUSTED, "replicas": -1}, "greater than or equal to 1"),
    "replicas 201": ({**TRUSTED, "replicas": 201}, "less than or equal to 200"),
    "replicas 1.5": ({**TRUSTED, "replicas": 1.5}, "integer"),
    "replicas as text": ({**TRUSTED, "replicas": "2"}, "must be of type integer"),
    "a size set twice": (
        {**TRUSTED, "replicas": 3, "autoscaling": {"maxReplicas": 5}},
        "replicas and autoscaling do not go together: take replicas out",
    ),
    "sized without a largest number": ({**TRUSTED, "autoscaling": {}}, "maxReplicas: Required value"),
    "bounds out of order": (
        {**TRUSTED, "autoscaling": {"minReplicas": 4, "maxReplicas": 3}},
        "minReplicas must not be larger than maxReplicas",
    ),
    "no time to drain": (
        {**TRUSTED, "autoscaling": {"maxReplicas": 3, "targetDrainTime": "0s"}},
        "must be from 1s to 1h",
    ),
    "a period of an hour": (
        {**TRUSTED, "autoscaling": {"maxReplicas": 3, "scaleDown": {"period": "1h"}}},
        "must be from 1s to 30m",
    ),
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
    "credentials in clear": (
        smarthost(secretName="provider"),
        "credentials never travel without TLS: write tls: Required or Verified",
    ),
    "credentials perhaps in clear": (
        smarthost(secretName="provider", tls="Optional"),
        "credentials never travel without TLS",
    ),
    "route, credentials in clear": (
        routes({"domain": "a.example", "host": "b", "secretName": "provider", "tls": "None"}),
        "credentials never travel without TLS",
    ),
    "an address verified": (smarthost(host="192.0.2.1", tls="Verified"), "write the name that is in the"),
    "implicit TLS perhaps": (smarthost(port=465), "port 465 begins with TLS"),
    "unknown TLS of a smarthost": (smarthost(tls="Always"), 'Unsupported value: "Always"'),
    "route for nobody": (routes({"host": "a"}), "write either domain or senderDomain"),
    "route for both": (
        routes({"domain": "a.example", "senderDomain": "b.example", "host": "a"}),
        "write either domain or senderDomain",
    ),
    "route by MX with a port": (
        routes({"domain": "a.example", "port": 25}),
        "goes to the MX of the recipient",
    ),
    "route by MX with credentials": (
        routes({"domain": "a.example", "tls": "Required", "secretName": "a"}),
        "goes to the MX of the recipient",
    ),
    "route by MX verified": (routes({"domain": "a.example", "tls": "Verified"}), "by MX there is no name"),
    "routes out of order": (
        routes({"senderDomain": "a.example", "host": "a"}, {"domain": "b.example", "host": "b"}),
        "routes by senderDomain must stand after all routes by domain",
    ),
    "two routes of one domain": (
        routes({"domain": "a.example", "host": "a"}, {"domain": "a.example", "host": "b"}),
        "this one would never be used",
    ),
    "route in capitals": (routes({"domain": "A.example"}), "not a mail domain"),
    "route for an address": (routes({"domain": "user@a.example"}), "not a mail domain"),
    "route for a literal": (routes({"domain": "[192.0.2.1]"}), "not a mail domain"),
    "route for everything": (routes({"domain": "*"}), "not a mail domain"),
    "route in Unicode": (routes({"domain": "b\u00fccher.example"}), "in its ASCII form (xn--...)"),
    "route of a line break": (routes({"domain": "a.example\n"}), "not a mail domain"),
    "route to a pool on a port": (
        routes({"domain": "a.example", "pool": "bulk", "port": 25}),
        "write pool alone, or take it out",
    ),
    "route to a pool in clear": (
        routes({"domain": "a.example", "pool": "bulk", "tls": "None"}),
        "write pool alone, or take it out",
    ),
    "route to the pool itself": (
        routes({"domain": "a.example", "pool": "outbound"}),
        "a route leads to this pool itself: name another pool",
    ),
    "route to a pool of another namespace": (
        routes({"domain": "a.example", "pool": "bulk.other"}),
        "not a name of a pool",
    ),
    "too many routes": (
        routes(*({"domain": f"a{i}.example"} for i in range(65))),
        "must have at most 64 items",
    ),
    "no connection at all": (
        {**TRUSTED, "delivery": {"maxConnectionsPerDestination": 0}},
        "greater than or equal to 1",
    ),
    "connections in relay.postfix": (
        relay(postfix={"smtp_destination_concurrency_limit": "5"}),
        "the main.cf parameter smtp_destination_concurrency_limit itself",
    ),
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
    "DKIM, a domain in capitals": (signed({"domain": "Example.com"}), "write it in lower case"),
    "DKIM, a host for a domain": (signed({"domain": "localhost"}), "not a domain to sign for"),
    "DKIM, a domain with a line break": (signed({"domain": "a.b\nc"}), "not a domain to sign for"),
    "DKIM, a selector with an underscore": (signed({"selector": "s_1"}), "not a selector"),
    "DKIM, two keys of one selector": (
        signed({}, {"secretName": "a"}),
        "give the second one another selector",
    ),
    "DKIM, the algorithm of a Secret's key": (
        signed({"secretName": "a", "algorithm": "RSA"}),
        "algorithm is for keys that the operator makes",
    ),
    "DKIM, an unknown algorithm": (signed({"algorithm": "DSA"}), 'Unsupported value: "DSA"'),
    "DKIM, too many keys": (
        signed(*({"selector": f"s{i}"} for i in range(33))),
        "must have at most 32 items",
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
    "header from anywhere": (
        balancing(acceptProxyProtocol=True, proxyProtocolSources=["0.0.0.0/0"]),
        "the pool would be an open relay",
    ),
    "header from half of the Internet": (
        balancing(acceptProxyProtocol=True, proxyProtocolSources=["10.0.0.0/8", "128.0.0.0/1"]),
        "proxyProtocolSources[1]",
    ),
    "header from nobody": (
        balancing(acceptProxyProtocol=True, proxyProtocolSources=[]),
        "should have at least 1 items",
    ),
    "hidden clients, load balancer": (
        balancing(service={"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"}),
        "hides who the client is",
    ),
    "hidden clients, node port": (
        balancing(service={"type": "NodePort", "externalTrafficPolicy": "Cluster"}),
        "set acceptProxyProtocol and an outer balancer",
    ),
    "unknown type of Service": (balancing(service={"type": "ExternalName"}), "Unsupported value"),
    "source ranges of a node port": (
        balancing(service={"type": "NodePort", "loadBalancerSourceRanges": ["192.0.2.0/24"]}),
        "for the type LoadBalancer only",
    ),
    "source range that is none": (
        balancing(service={"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.1"]}),
        "not a network",
    ),
    "class of no load balancer": (
        balancing(service={"loadBalancerClass": "example.net/lb"}),
        "for the type LoadBalancer only",
    ),
    "annotation of the operator": (
        balancing(service={"annotations": {"smtpfleet.io/applied": "x"}}),
        "belong to the operator",
    ),
    "annotation without a name": (
        balancing(service={"annotations": {"a b": "x"}}),
        "not a key of an annotation",
    ),
    "backup without a host": (balancing(backups=[{"port": 25}]), "host: Required value"),
    "backup with a line break": (balancing(backups=[{"host": "a\n server evil"}]), "not a host name"),
    "backup, port 0": (balancing(backups=[{"host": "a", "port": 0}]), "greater than or equal to 1"),
    "too many backups": (balancing(backups=[{"host": "a"}] * 9), "must have at most 8 items"),
    "sender domain with an @": (submission(allowedSenderDomains=["a@example.com"]), "not a domain"),
    "sender domain with a star": (
        submission(allowedSenderDomains=["*.example.com"]),
        "write example.com for itself",
    ),
    "sender domain in its own script": (submission(allowedSenderDomains=["bücher.example"]), "as xn--"),
    "sender domain with a pattern": (
        submission(allowedSenderDomains=["example.com$/ OK }, { /"]),
        "not a domain",
    ),
    "bandwidth without a unit": (submission(maxBandwidthPerClient="8"), "write 1Mi to 100Mi, or 0"),
    "negative limit": (submission(maxConnectionsPerClient=-1), "greater than or equal to 0"),
}
