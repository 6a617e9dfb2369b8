"""SmtpPool, as users write it. The CustomResourceDefinition is generated from these models.

A field is here only if it works. Defaults, bounds and CEL rules stand beside the field, so that the stored
object, ``kubectl explain`` and the operator never disagree.
"""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from smtpfleet.api.postfix_parameters import (
    NAME_PATTERN,
    OWNED,
    OWNED_PREFIXES,
    is_owned,
    is_parameter_name,
)
from smtpfleet.api.values import (
    ApiModel,
    HostName,
    Period,
    SecretName,
    Size,
    TrustedNetwork,
    rule,
    rules,
    size_bytes,
)

MAX_RELAYS: Final = 200


class BalancingMethod(StrEnum):
    """How a balancer chooses among relays; weights apply to all of them."""

    LEAST_CONNECTIONS = "LeastConnections"
    ROUND_ROBIN = "RoundRobin"
    RANDOM = "Random"
    SOURCE_ADDRESS = "SourceAddress"


class DeletionPolicy(StrEnum):
    """What becomes of queues when the pool is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class TlsMode(StrEnum):
    """Whether clients may, or must, submit under TLS."""

    NONE = "None"
    OPTIONAL = "Optional"
    REQUIRED = "Required"


class Tls(ApiModel):
    """TLS of submission."""

    mode: TlsMode = Field(
        default=TlsMode.OPTIONAL,
        description="Optional: STARTTLS on ports 25 and 587, TLS from the first byte on port 465. Required: the same,"
        " and no mail without TLS. None: no TLS, no port 465.",
    )
    secret_name: SecretName = Field(
        default="",
        description="Secret of the type kubernetes.io/tls in the pool's namespace; changes are live."
        " Empty: the operator makes a self-signed certificate, <pool>-tls, and renews it in time.",
    )


class Submission(ApiModel):
    """Who may hand in mail, and how."""

    hostname: HostName = Field(
        default="",
        description="Public name of the pool: banner and HELO name. Empty: <pool>.<namespace>.svc.",
    )
    trusted_networks: tuple[TrustedNetwork, ...] = Field(
        default=(),
        max_length=64,
        description="Networks (CIDR) whose hosts may relay without a password."
        " Narrower than /8 (IPv4) or /16 (IPv6).",
    )
    message_size_limit: Size = Field(
        default="25Mi", description="Largest message accepted, as RFC 1870 SIZE counts it."
    )
    tls: Tls = Field(default_factory=Tls, description="TLS of submission.")


class Smarthost(ApiModel):
    """A server that takes all mail of the pool."""

    host: HostName = Field(
        min_length=1, description="Name or IPv4 address; its A record is used, never its MX."
    )
    port: int = Field(default=587, ge=1, le=65535, description="TCP port.")


class Delivery(ApiModel):
    """Where mail goes."""

    smarthost: Smarthost | None = Field(
        default=None, description="Server that takes all mail. None: the MX of each recipient."
    )
    queue_lifetime: Period = Field(
        default="5d",
        description="How long delivery is tried before the sender gets a bounce"
        " (maximal_queue_lifetime and bounce_queue_lifetime of Postfix).",
    )


class Balancing(ApiModel):
    """How connections are spread over the relays."""

    method: BalancingMethod = Field(
        default=BalancingMethod.LEAST_CONNECTIONS,
        description="LeastConnections: fewest open sessions, best when a relay hangs. RoundRobin: in turn."
        " Random: two at random, the less busy of them. SourceAddress: the same client address to the same"
        " relay. Weights apply to all of them.",
    )
    replicas: int = Field(default=2, ge=1, le=20, description="Number of balancer pods.")


class Storage(ApiModel):
    """The volume of each relay's queue."""

    size: Size = Field(
        default="1Gi",
        description="Size of each relay's claim. Larger: claims grow, where their StorageClass can expand volumes."
        " Smaller: claims stay as they are, and new relays get the new size.",
    )
    storage_class_name: Annotated[str, StringConstraints(max_length=253)] = Field(
        default="", description="StorageClass of the claims. Empty: the cluster's default."
    )
    ephemeral: bool = Field(
        default=False,
        description="Keep queues in the pod: acknowledged mail is lost with the pod, and the status says so.",
    )


class Toleration(ApiModel):
    """A taint that relay pods tolerate (core/v1 Toleration)."""

    key: str = Field(default="", max_length=317, description="Key of the taint. Empty with Exists: all.")
    operator: Annotated[str, StringConstraints(pattern="^(Exists|Equal)$", max_length=6)] = Field(
        default="Equal", description="Exists or Equal."
    )
    value: str = Field(default="", max_length=63, description="Value of the taint, with Equal.")
    effect: Annotated[
        str, StringConstraints(pattern="^(|NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)
    ] = Field(default="", description="Effect of the taint. Empty: all effects.")


_QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    StringConstraints(max_length=32, pattern=_QUANTITY),
    BeforeValidator(_as_text),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 32, "pattern": _QUANTITY, "minimum": 0}),
]
"""A resource.Quantity: ``500m``, ``1Gi``, or a whole number, which YAML reads as one (``cpu: 2``)."""


class Resources(ApiModel):
    """Requests and limits of the Postfix container, by resource name."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="What is reserved, such as cpu: 500m."
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="What is the most, such as memory: 1Gi."
    )


_OWNED_LIST: Final = ",".join(f"'{name}'" for name in sorted(OWNED))
_OWNED_CEL: Final = " || ".join(
    (f"k in [{_OWNED_LIST}]", *(f"k.startsWith('{prefix}')" for prefix in OWNED_PREFIXES))
)
_POSTFIX_RULES: Final = rules(
    {
        "rule": f"!self.exists(k, {_OWNED_CEL})",
        "message": "the operator sets this main.cf parameter itself: take it out of relay.postfix",
        # One name only: joining all of them costs more than the API server's budget for a rule.
        "messageExpression": f"'the operator sets the main.cf parameter ' + self.filter(k, {_OWNED_CEL})[0]"
        " + ' itself: take it out of relay.postfix'",
    },
    rule(
        f"self.all(k, k.matches('^{NAME_PATTERN}$'))",
        "main.cf parameters are lower-case names of at most 64 characters, such as smtp_tls_loglevel",
    ),
    rule(
        "self.all(k, self[k].matches('^[^\\n\\r\\x00]*$'))",
        "a main.cf value is one line",
    ),
)


class Relay(ApiModel):
    """The relays' pods."""

    image: str = Field(default="", max_length=512, description="Image of the relays. Empty: the release's.")
    storage: Storage = Field(default_factory=Storage, description="The volume of each relay's queue.")
    resources: Resources = Field(default_factory=Resources, description="Requests and limits of a relay.")
    node_selector: dict[str, Annotated[str, StringConstraints(max_length=63)]] = Field(
        default_factory=dict, max_length=32, description="Labels of nodes that relays may run on."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=32, description="Taints that relays tolerate."
    )
    priority_class_name: str = Field(default="", max_length=253, description="PriorityClass of the relays.")
    postfix: dict[str, Annotated[str, StringConstraints(max_length=2048)]] = Field(
        default_factory=dict,
        max_length=64,
        description="Further main.cf parameters. Those the operator owns are refused by name.",
        json_schema_extra=_POSTFIX_RULES,
    )

    @field_validator("postfix")
    @classmethod
    def _nothing_owned(cls, value: dict[str, str]) -> dict[str, str]:
        if owned := sorted(filter(is_owned, value)):
            raise ValueError(f"the operator sets main.cf parameters itself: take {', '.join(owned)} out")
        return value

    @field_validator("postfix")
    @classmethod
    def _one_line_each(cls, value: dict[str, str]) -> dict[str, str]:
        for parameter, text in value.items():
            if not is_parameter_name(parameter):
                raise ValueError(f"{parameter!r} is no main.cf parameter: write a lower-case name")
            if any(character in text for character in "\r\n\0"):
                raise ValueError(f"the value of {parameter} is more than one line")
        return value


# Rules on objects that have a default must stand at the spec: a default object has to satisfy its own rules.
_SPEC_RULES: Final = rules(
    rule(
        "size(self.submission.trustedNetworks) > 0",
        "nobody may hand in mail: list in trustedNetworks the networks of your senders,"
        ' such as ["10.0.0.0/8"]',
        field_path=".submission.trustedNetworks",
    ),
    rule(
        "self.relay.storage.ephemeral || !isQuantity(self.relay.storage.size)"
        " || !isQuantity(self.submission.messageSizeLimit) || quantity(self.relay.storage.size)"
        ".compareTo(quantity(self.submission.messageSizeLimit)) > 0",
        "relay.storage.size must be larger than submission.messageSizeLimit,"
        " or no message fits into the queue",
        field_path=".relay.storage.size",
    ),
    rule(
        "self.relay.storage.storageClassName == oldSelf.relay.storage.storageClassName",
        "storageClassName cannot be changed, for queues do not move between classes: make a new pool",
        field_path=".relay.storage.storageClassName",
    ),
    rule(
        "self.relay.storage.ephemeral == oldSelf.relay.storage.ephemeral",
        "ephemeral cannot be changed, for queues would be left behind: make a new pool",
        field_path=".relay.storage.ephemeral",
    ),
)


class SmtpPoolSpec(ApiModel):
    """One pool of SMTP relays: who may hand in mail, where it goes, and what it runs on."""

    model_config = ApiModel.model_config | {"json_schema_extra": _SPEC_RULES}

    replicas: int = Field(default=2, ge=1, le=MAX_RELAYS, description="Number of relays.")
    submission: Submission = Field(default_factory=Submission, description="Who may hand in mail, and how.")
    delivery: Delivery = Field(default_factory=Delivery, description="Where mail goes.")
    balancing: Balancing = Field(
        default_factory=Balancing, description="How connections are spread over the relays."
    )
    relay: Relay = Field(default_factory=Relay, description="The relays' pods.")
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="What becomes of queues when the pool is deleted. Retain: the volumes stay, and a pool"
        " of the same name adopts them. Delete: mail that waits is deleted, too.",
    )

    @model_validator(mode="after")
    def _a_message_fits(self) -> Self:
        storage, limit = self.relay.storage, self.submission.message_size_limit
        if not storage.ephemeral and size_bytes(storage.size) <= size_bytes(limit):
            raise ValueError(f"relay.storage.size {storage.size} is not larger than one message ({limit})")
        return self
