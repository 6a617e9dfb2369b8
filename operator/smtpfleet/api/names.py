"""Names, labels, annotations and ports that charts, docs, agents and outside tests rely on."""

import hashlib
from typing import Final

GROUP: Final = "smtpfleet.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "SmtpPool"
PLURAL: Final = "smtppools"
FIELD_MANAGER: Final = "smtpfleet"

PoolKey = tuple[str, str]
"""Namespace and name of a pool."""

POOL_LABEL: Final = f"{GROUP}/pool"
RELAY_LABEL: Final = f"{GROUP}/relay"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"

PAUSED_ANNOTATION: Final = f"{GROUP}/paused"
DRAIN_ANNOTATION: Final = f"{GROUP}/drain"
WEIGHT_ANNOTATION: Final = f"{GROUP}/weight"
DRAIN_FINALIZER: Final = f"{GROUP}/drain"
"""On an SmtpPool with ``deletionPolicy: Drain``, and on no other."""
APPLIED_ANNOTATION: Final = f"{GROUP}/applied"
"""On a child: digest of what the operator applied last, so that a field it stops setting is noticed."""

COMPONENT_RELAY: Final = "relay"
COMPONENT_BALANCER: Final = "balancer"
COMPONENT_OPERATOR: Final = "operator"

# Relays and balancers listen on the same numbers: a HAProxy server without a port is connected to on the
# port the client came in by, so one backend, one weight and one check serve every submission port.
SMTP_PORT: Final = 2525
SUBMISSION_PORT: Final = 2587
SUBMISSIONS_PORT: Final = 2465
# Relay only: an smtpd with its own process limit for the balancers' checks, and the line the agent answers.
CHECK_PORT: Final = 10026
AGENT_CHECK_PORT: Final = 10027
HAND_OFF_PORT: Final = 10025
"""Relay only: where siblings that leave hand over their queues."""
# Agents' read-only HTTP: /healthz /readyz /status /metrics.
HTTP_PORT: Final = 8080
# The two HAProxys of a balancer, which share its SMTP ports, and the port of each one's own HTTP, which needs no
# agent: /healthz for the kubelet, /metrics of HAProxy itself.
HAPROXY_HEALTH_PORTS: Final = {"haproxy": 8404, "haproxy-twin": 8405}

PEER_PORTS: Final = {"haproxy": 8414, "haproxy-twin": 8415}
"""Where the HAProxys of a pool tell each other how many connections clients have open."""

BALANCER_RUN_DIRECTORY: Final = "/run/smtpfleet"
"""Shared by the HAProxys and their agent: the configuration and the sockets of workers and masters."""
HEALTH_PORT_VARIABLE: Final = "SMTPFLEET_HEALTH_PORT"
ADMIN_SOCKET_VARIABLE: Final = "SMTPFLEET_ADMIN_SOCKET"
"""What differs between the two HAProxys comes by the environment: both load the same file."""

SERVICE_SMTP_PORT: Final = 25
SERVICE_SUBMISSION_PORT: Final = 587
SERVICE_SUBMISSIONS_PORT: Final = 465

ROUTING_KEY: Final = "routing.json"
ROUTING_DIRECTORY: Final = "/etc/smtpfleet/routing"
"""Where agents find the mounted ConfigMap when the API server is away."""

USERNAME_KEY: Final = "username"
PASSWORD_KEY: Final = "password"  # noqa: S105 - a key, not a password
AUTHORITIES_KEY: Final = "ca.crt"
"""Keys of a Secret for a next hop: those of the type kubernetes.io/basic-auth, and certificates."""

SERVICE_ACCOUNT_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod's token and the certificate of the API server are mounted."""

QUEUE_VOLUME_DIRECTORY: Final = "/var/spool/smtpfleet"
"""Mount point of a relay's claim. Postfix's queue is its subdirectory ``postfix``; what the agent keeps
beside the queue (its incarnation) lives next to it."""

POSTFIX_CONFIGURATION_DIRECTORY: Final = "/run/smtpfleet/postfix"
"""Where a relay's agent renders main.cf and master.cf; ``MAIL_CONFIG`` of the pod, so that ``kubectl exec``
of ``mailq``, ``postqueue`` and ``postcat`` finds this Postfix."""


def admin_socket(haproxy: str) -> str:
    """Socket of the worker of a balancer's HAProxy."""
    return f"{BALANCER_RUN_DIRECTORY}/{haproxy}.admin.sock"


def master_socket(haproxy: str) -> str:
    """Socket of the master of a balancer's HAProxy."""
    return f"{BALANCER_RUN_DIRECTORY}/{haproxy}.master.sock"


def haproxy_command(haproxy: str) -> tuple[str, ...]:
    """What a balancer's HAProxy container runs: master and worker, reloaded through the master's socket."""
    socket = f"{master_socket(haproxy)},mode,600,level,admin"
    return ("haproxy", "-W", "-S", socket, "-f", f"{BALANCER_RUN_DIRECTORY}/haproxy.cfg")


def relay_name(pool: str, number: int) -> str:
    """Name of Deployment, claim and Service of relay ``number`` (from 0)."""
    return f"{pool}-relay-{number}"


def balancer_name(pool: str) -> str:
    """Name of the balancers' Deployment, budget, network policy, ServiceAccount, Role and RoleBinding."""
    return f"{pool}-balancer"


def relays_name(pool: str) -> str:
    """Name of the relays' common budget and network policy."""
    return f"{pool}-relay"


def agent_name(pool: str) -> str:
    """Name of the ServiceAccount, Role and RoleBinding of relays, whose agents read Secrets."""
    return f"{pool}-agent"


def routing_name(pool: str) -> str:
    """Name of the ConfigMap with the routing table."""
    return f"{pool}-routing"


def certificate_name(pool: str) -> str:
    """Name of the Secret with the certificate that the operator makes for a pool that names none."""
    return f"{pool}-tls"


def hand_off_name(pool: str) -> str:
    """Name of the Secret with the certificate by which the relays of a pool know each other."""
    return f"{pool}-hand-off"


def dkim_key_name(pool: str, domain: str, selector: str) -> str:
    """Name of the Secret with a DKIM key that the operator makes.

    The digest keeps apart what hyphens and dots would make equal; the rest is for people.
    """
    digest = hashlib.sha256(f"{selector}/{domain}".encode()).hexdigest()[:8]
    return f"{f'{pool}-dkim-{selector}.{domain}'[:240].rstrip('.-')}-{digest}"


def login_name(pool: str) -> str:
    """Name of the Secret with the pool's login at the pools that its routes lead to."""
    return f"{pool}-login"


def login_user(pool: str) -> str:
    """The user's name in it. No user of a Secret can have a semicolon in his."""
    return f"pool;{pool}"


def probe_login_name(pool: str) -> str:
    """Name of the Secret with the login of the operator's probes."""
    return f"{pool}-probe"


def probe_user(pool: str) -> str:
    """The user's name in it. No user of a Secret can have a semicolon in his."""
    return f"probe;{pool}"


def endpoint(pool: str, namespace: str) -> str:
    """Where clients of the pool submit mail: ``host:port``."""
    return f"{pool}.{namespace}.svc:{SERVICE_SUBMISSION_PORT}"
