"""SmtpPool, as users write it. The CustomResourceDefinition is generated from these models.

A field is here only if it works. Defaults, bounds and CEL rules stand beside the field, so that the stored
object, ``kubectl explain`` and the operator never disagree. Each part of the spec has a module of its own.
"""

from enum import StrEnum
from typing import Final, Self

from pydantic import Field, model_validator

from smtpfleet.api.autoscaling import MAX_RELAYS, Autoscaling
from smtpfleet.api.balancing import SERVICE_RULES, Balancing, check_clients_are_seen
from smtpfleet.api.delivery import Delivery
from smtpfleet.api.dkim import DKIM_RULES, KEEPS_ALGORITHM, MAX_KEYS, DkimKey
from smtpfleet.api.health import TIMEOUT_RULE, Health
from smtpfleet.api.relay_pods import Relay
from smtpfleet.api.submission import Submission, TlsMode
from smtpfleet.api.values import ApiModel, Period, duration_seconds, rule, rules, size_bytes

DEFAULT_RELAYS: Final = 2


class DeletionPolicy(StrEnum):
    """What becomes of queues when the pool is deleted."""

    DRAIN = "Drain"
    RETAIN = "Retain"
    DELETE = "Delete"


_SIZED_TWICE: Final = (
    "replicas and autoscaling do not go together: take replicas out, autoscaling sets the size"
    " between minReplicas and maxReplicas"
)

# Rules on objects that have a default must stand at the spec: a default object has to satisfy its own rules.
_SPEC_RULES: Final = rules(
    rule(
        "size(self.submission.trustedNetworks) > 0 || self.submission.authentication.secretName != ''",
        "nobody may hand in mail: list in trustedNetworks the networks of your senders,"
        ' such as ["10.0.0.0/8"], or name in authentication.secretName a Secret with users',
        field_path=".submission.trustedNetworks",
    ),
    rule(
        "self.submission.authentication.secretName == '' || self.submission.tls.mode != 'None'",
        "users need TLS, or their passwords would be sent in clear: set tls.mode to Optional or Required,"
        " or take authentication out",
        field_path=".submission.tls.mode",
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
    rule(
        f"!has(self.autoscaling) || self.replicas == {DEFAULT_RELAYS}",
        _SIZED_TWICE,
        field_path=".replicas",
    ),
    *SERVICE_RULES,
    KEEPS_ALGORITHM,
    TIMEOUT_RULE,
)


class SmtpPoolSpec(ApiModel):
    """One pool of SMTP relays: who may hand in mail, where it goes, and what it runs on."""

    model_config = ApiModel.model_config | {"json_schema_extra": _SPEC_RULES}

    replicas: int = Field(
        default=DEFAULT_RELAYS,
        ge=1,
        le=MAX_RELAYS,
        description="Number of relays. Not together with autoscaling, which sets it within bounds of its own.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description="The operator sizes the pool by its queues, instead of by replicas. It never writes replicas.",
    )
    submission: Submission = Field(default_factory=Submission, description="Who may hand in mail, and how.")
    delivery: Delivery = Field(default_factory=Delivery, description="Where mail goes.")
    dkim: tuple[DkimKey, ...] = Field(
        default=(),
        max_length=MAX_KEYS,
        description="Keys that sign mail by the domain of its From: header. Of the keys of one domain and algorithm"
        " the first signs; the status has the DNS records of all of them.",
        json_schema_extra=DKIM_RULES,
    )
    balancing: Balancing = Field(
        default_factory=Balancing, description="How connections are spread over the relays."
    )
    health: Health = Field(
        default_factory=Health,
        description="How the operator's probes judge relays, and what follows from it.",
    )
    relay: Relay = Field(default_factory=Relay, description="The relays' pods.")
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="What becomes of queues when the pool is deleted. Retain: the volumes stay, and a pool"
        " of the same name adopts them. Drain: the relays take no mail and deliver what they have, for at most"
        " drainTimeout; then what is left is retained. Delete: mail that waits is deleted, too.",
    )
    drain_timeout: Period = Field(
        default="10m",
        description="With deletionPolicy Drain, how long the deletion of the pool waits for its mail.",
    )

    @model_validator(mode="after")
    def _one_thing_sets_the_size(self) -> Self:
        # The default is in every stored object, so it cannot be told from a number that somebody wrote.
        if self.autoscaling and self.replicas != DEFAULT_RELAYS:
            raise ValueError(_SIZED_TWICE)
        return self

    @model_validator(mode="after")
    def _keys_are_unique(self) -> Self:
        if len({(key.domain, key.selector) for key in self.dkim}) != len(self.dkim):
            raise ValueError("dkim has two keys of one domain and selector")
        return self

    @model_validator(mode="after")
    def _a_message_fits(self) -> Self:
        storage, limit = self.relay.storage, self.submission.message_size_limit
        if not storage.ephemeral and size_bytes(storage.size) <= size_bytes(limit):
            raise ValueError(f"relay.storage.size {storage.size} is not larger than one message ({limit})")
        return self

    @model_validator(mode="after")
    def _users_have_tls(self) -> Self:
        if self.submission.authentication.secret_name and self.submission.tls.mode is TlsMode.NONE:
            raise ValueError("users need TLS, or their passwords would be sent in clear")
        return self

    @model_validator(mode="after")
    def _clients_are_seen(self) -> Self:
        check_clients_are_seen(self.balancing, self.submission.trusted_networks)
        return self

    @model_validator(mode="after")
    def _a_probe_ends_before_the_next(self) -> Self:
        if duration_seconds(self.health.timeout) >= duration_seconds(self.health.interval):
            raise ValueError(
                f"health.timeout {self.health.timeout} is not shorter than health.interval {self.health.interval}"
            )
        return self
