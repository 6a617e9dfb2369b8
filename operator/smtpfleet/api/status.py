"""Status of an SmtpPool, as users and other tools read it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from smtpfleet.api.autoscaling import MAX_RELAYS, AutoscalingStatus
from smtpfleet.api.dkim import MAX_KEYS
from smtpfleet.api.reasons import ConditionType, RelayState
from smtpfleet.api.values import ApiModel, Moment

Text = Annotated[str, StringConstraints(max_length=1024)]


class Condition(ApiModel):
    """A condition as metav1.Condition has it. ``last_transition_time`` changes only with ``status``."""

    type: ConditionType = Field(description="Type of the condition.")
    status: Annotated[str, StringConstraints(max_length=7, pattern="^(True|False|Unknown)$")] = Field(
        description="True, False or Unknown."
    )
    observed_generation: int = Field(ge=0, description="Generation of the spec it was seen for.")
    last_transition_time: str = Field(
        description="When status changed last (RFC 3339).", json_schema_extra={"format": "date-time"}
    )
    reason: Annotated[str, StringConstraints(max_length=64, pattern="^[A-Za-z]+$")] = Field(
        description="One CamelCase word for programs."
    )
    message: Text = Field(default="", description="A sentence for people.")


class RelayOutage(ApiModel):
    """That a relay does not serve, or has not served for long enough since, and what was done about it."""

    since: str = Field(description="When it began (RFC 3339).", json_schema_extra={"format": "date-time"})
    restarted: Moment = Field(default="", description="When it was decided to restart the relay, else empty.")
    pod_uid: Annotated[str, StringConstraints(max_length=64)] = Field(
        default="", description="UID of the pod that is deleted to restart it, else empty."
    )
    replaced: Moment = Field(
        default="", description="When it was decided that a new relay takes its place, else empty."
    )


class RelayShare(ApiModel):
    """That a relay sends more slowly than its siblings, or did, and so gets less than its weight."""

    percent: int = Field(ge=0, le=100, description="Percent of its weight that it gets.")
    since: str = Field(
        description="When that changed last (RFC 3339).", json_schema_extra={"format": "date-time"}
    )
    falls: int = Field(ge=0, description="How often it fell in a row.")


class RelayEntry(ApiModel):
    """One relay as the operator sees it."""

    name: Annotated[str, StringConstraints(max_length=253)] = Field(description="Name of the relay.")
    node: Annotated[str, StringConstraints(max_length=253)] = Field(
        default="", description="Node it runs on."
    )
    state: RelayState = Field(description="What it does for the pool now.")
    weight: int = Field(ge=0, le=100, description="Relative weight in the balancers.")
    backlog: int = Field(default=0, ge=0, description="Messages ready to be sent now, two digits.")
    deferred: int = Field(default=0, ge=0, description="Messages waiting for a retry, two digits.")
    since: str = Field(
        description="When the state changed last (RFC 3339).", json_schema_extra={"format": "date-time"}
    )
    reason: Annotated[str, StringConstraints(max_length=64)] = Field(
        description="One CamelCase word for programs."
    )
    message: Text = Field(default="", description="A sentence for people.")
    ejections: int = Field(
        default=0, ge=0, description="Ejections in a row; 0 again once it has served for long enough."
    )
    readmitted: Moment = Field(
        default="", description="When it returned from its last ejection of the row (RFC 3339), else empty."
    )
    outage: RelayOutage | None = Field(
        default=None, description="What is wrong for so long, and what was done; absent while it is well."
    )
    share: RelayShare | None = Field(
        default=None, description="What it gets because it is slow, or was; absent of most relays."
    )


class DkimEntry(ApiModel):
    """A DKIM key and the TXT record to publish for it."""

    domain: Annotated[str, StringConstraints(max_length=253)] = Field(
        description="Domain that is signed for."
    )
    selector: Annotated[str, StringConstraints(max_length=63)] = Field(description="Name of the key.")
    secret_name: Annotated[str, StringConstraints(max_length=253)] = Field(description="Secret with the key.")
    algorithm: Annotated[str, StringConstraints(max_length=16)] = Field(
        default="", description="RSA or Ed25519; empty until a relay has the key."
    )
    bits: int = Field(default=0, ge=0, description="Length of the key.")
    signing: bool = Field(default=False, description="Whether mail is signed with it now.")
    record_name: Annotated[str, StringConstraints(max_length=253)] = Field(
        description="Name of the TXT record."
    )
    record: Text = Field(default="", description="Value of the TXT record; in a zone file in strings of 255.")


class SmtpPoolStatus(ApiModel):
    """What the operator has seen and done."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec acted on last.")
    desired_replicas: int = Field(default=0, ge=0, description="Relays that the operator aims at now.")
    replicas: int = Field(default=0, ge=0, description="Relays that exist.")
    ready_replicas: int = Field(default=0, ge=0, description="Relays that take mail.")
    ready_of_desired: str = Field(
        default="", max_length=16, description="Relays that take mail, of those wanted: 3/3."
    )
    selector: str = Field(
        default="", max_length=512, description="Label selector of the relays' pods (scale subresource)."
    )
    backlog: int = Field(default=0, ge=0, description="Messages ready to be sent now, two digits.")
    deferred: int = Field(default=0, ge=0, description="Messages waiting for a retry, two digits.")
    endpoint: str = Field(default="", max_length=320, description="Where clients submit: host:port.")
    autoscaling: AutoscalingStatus | None = Field(
        default=None, description="What sizing by the queues goes by; absent without spec.autoscaling."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Conditions by type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    dkim: tuple[DkimEntry, ...] = Field(
        default=(),
        max_length=MAX_KEYS,
        description="DKIM keys with the DNS records to publish.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["domain", "selector"],
        },
    )
    relays: tuple[RelayEntry, ...] = Field(
        default=(),
        max_length=MAX_RELAYS,
        description="Relays by name.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of a type; None: there is none yet."""
        return next((condition for condition in self.conditions if condition.type is kind), None)
