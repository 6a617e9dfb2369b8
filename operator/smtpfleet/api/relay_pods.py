"""``spec.relay``: what the relays' pods run on, and what users add to their Postfix."""

from typing import Annotated, Final

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, field_validator

from smtpfleet.api.postfix_parameters import (
    NAME_PATTERN,
    OWNED,
    OWNED_PREFIXES,
    is_owned,
    is_parameter_name,
)
from smtpfleet.api.values import ApiModel, Size, rule, rules


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
