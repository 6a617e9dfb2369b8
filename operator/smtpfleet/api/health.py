"""``spec.health``: how the operator's probes judge relays, and what follows from it."""

from typing import Annotated, Final

from pydantic import Field

from smtpfleet.api.spans import span
from smtpfleet.api.values import ApiModel, rule

ProbeInterval = Annotated[str, *span("1s", "5m")]
ProbeTimeout = Annotated[str, *span("1s", "1m")]
EjectionTime = Annotated[str, *span("1s", "10m")]
CanaryInterval = Annotated[str, *span("0s", "10m")]
SlowStart = Annotated[str, *span("0s", "10m")]
ReplaceAfter = Annotated[str, *span("10s", "24h")]

TIMEOUT_RULE: Final = rule(
    "!self.health.interval.matches('^[0-9hms]+$') || !self.health.timeout.matches('^[0-9hms]+$')"
    " || duration(self.health.timeout) < duration(self.health.interval)",
    "health.timeout must be shorter than health.interval, or probes of one relay would overlap",
    field_path=".health.timeout",
)
"""Of the spec: an object with a default cannot carry it."""


class Health(ApiModel):
    """How the operator's probes judge relays, and what follows from it."""

    interval: ProbeInterval = Field(
        default="5s",
        description="How often the operator probes each relay. The balancers check for themselves several times"
        " a second.",
    )
    timeout: ProbeTimeout = Field(
        default="3s", description="How long one probe may take in all. Shorter than the interval."
    )
    canary_interval: CanaryInterval = Field(
        default="30s",
        description="How often a small message goes through each relay's own queue and back to the relay's agent,"
        " with a probe that is due anyway. 0s: never.",
    )
    unhealthy_threshold: int = Field(
        default=3, ge=1, le=10, description="Failed probes in a row that eject a relay."
    )
    healthy_threshold: int = Field(
        default=2, ge=1, le=10, description="Good probes in a row that a relay needs to return."
    )
    max_ejected_percent: int = Field(
        default=50,
        ge=0,
        le=100,
        description="Share of the relays that may be out at once, rounded down. If more look bad, that is rather"
        " a broken probe: no further one is ejected, and the condition ProbesHealthy says why.",
    )
    ejection_time: EjectionTime = Field(
        default="30s",
        description="The least time that a relay is out, times the number of its ejections in a row,"
        " at most 10 minutes.",
    )
    slow_start: SlowStart = Field(
        default="30s",
        description="In this time the weight of a relay that returns, or that joins others that have served for"
        " longer, rises in steps. 0s: at once.",
    )
    replace_after: ReplaceAfter = Field(
        default="10m",
        description="A relay that is out for so long, ejected or not ready, is restarted. If it is not well after as"
        " long again, or cannot be reached, a new relay takes its place, and it leaves as soon as its queue is empty.",
    )
