"""``spec.autoscaling``: the bounds within which the operator sizes a pool, and what it remembers in the status."""

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from smtpfleet.api.spans import span
from smtpfleet.api.values import ApiModel, Moment, rule, rules

MAX_RELAYS: Final = 200
MAX_RECOMMENDATIONS: Final = 24
"""So many parts of the longest window are remembered, and some to spare."""

DrainTime = Annotated[str, *span("1s", "1h")]
Window = Annotated[str, *span("0s", "1h")]
ScalingPeriod = Annotated[str, *span("1s", "30m")]

_BOUNDS_RULE: Final = rules(
    rule(
        "self.minReplicas <= self.maxReplicas",
        "minReplicas must not be larger than maxReplicas",
        field_path=".minReplicas",
    )
)


class ScaleUp(ApiModel):
    """How fast relays are added."""

    stabilization_window: Window = Field(
        default="0s", description="Relays are added only if they were wanted for so long without a break."
    )
    max_step: int = Field(
        default=4, ge=1, le=MAX_RELAYS, description="So many relays are added in a period at most."
    )
    period: ScalingPeriod = Field(default="30s", description="The time for which maxStep counts.")


class ScaleDown(ApiModel):
    """How fast relays are removed."""

    stabilization_window: Window = Field(
        default="5m", description="A relay is removed only if it was not needed for so long."
    )
    max_step: int = Field(
        default=1, ge=1, le=MAX_RELAYS, description="So many relays are removed in a period at most."
    )
    period: ScalingPeriod = Field(default="60s", description="The time for which maxStep counts.")


class Autoscaling(ApiModel):
    """The operator sizes the pool by its queues. It never writes spec.replicas."""

    model_config = ApiModel.model_config | {"json_schema_extra": _BOUNDS_RULE}

    min_replicas: int = Field(default=2, ge=1, le=MAX_RELAYS, description="The least number of relays.")
    max_replicas: int = Field(ge=1, le=MAX_RELAYS, description="The largest number of relays.")
    target_drain_time: DrainTime = Field(
        default="60s",
        description="A backlog for which the relays themselves are too slow is to be gone in this time."
        " Mail that waits for a receiver adds no relay.",
    )
    scale_up: ScaleUp = Field(default_factory=ScaleUp, description="How fast relays are added.")
    scale_down: ScaleDown = Field(default_factory=ScaleDown, description="How fast relays are removed.")

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"minReplicas {self.min_replicas} must not be larger than maxReplicas {self.max_replicas}"
            )
        return self


class Recommendation(ApiModel):
    """A size that the load asked for, from a moment until the next entry."""

    at: Moment = Field(description="From when on (RFC 3339).")
    relays: int = Field(ge=0, description="How many relays.")


class ScalingMemory(ApiModel):
    """What was asked for and done in one direction."""

    changed: int = Field(
        default=0, ge=0, description="Relays changed with less than a period between two changes."
    )
    changed_at: Moment = Field(default="", description="When the last of them was (RFC 3339).")
    recommendations: tuple[Recommendation, ...] = Field(
        default=(),
        max_length=MAX_RECOMMENDATIONS,
        description="Sizes asked for within the stabilization window, the oldest first.",
    )


class AutoscalingStatus(ApiModel):
    """What the operator must not forget between two decisions."""

    relay_rate: int = Field(
        default=0,
        ge=0,
        description="Messages a second that one relay sends at most, as measured; 0: unknown.",
    )
    measured: Moment = Field(default="", description="When that was measured last (RFC 3339).")
    scale_up: ScalingMemory = Field(default_factory=ScalingMemory, description="How it grew.")
    scale_down: ScalingMemory = Field(default_factory=ScalingMemory, description="How it shrank.")
