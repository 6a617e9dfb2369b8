"""``spec.balancing``: how connections are spread over the relays."""

from enum import StrEnum

from pydantic import Field

from smtpfleet.api.values import ApiModel


class BalancingMethod(StrEnum):
    """How a balancer chooses among relays; weights apply to all of them."""

    LEAST_CONNECTIONS = "LeastConnections"
    ROUND_ROBIN = "RoundRobin"
    RANDOM = "Random"
    SOURCE_ADDRESS = "SourceAddress"


class Balancing(ApiModel):
    """How connections are spread over the relays."""

    method: BalancingMethod = Field(
        default=BalancingMethod.LEAST_CONNECTIONS,
        description="LeastConnections: fewest open sessions, best when a relay hangs. RoundRobin: in turn."
        " Random: two at random, the less busy of them. SourceAddress: the same client address to the same"
        " relay. Weights apply to all of them.",
    )
    replicas: int = Field(default=2, ge=1, le=20, description="Number of balancer pods.")
