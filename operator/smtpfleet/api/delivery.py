"""``spec.delivery``: where mail goes."""

from pydantic import Field

from smtpfleet.api.values import ApiModel, HostName, Period


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
