"""Ways into a pool: a port of its Service with what begins a session there."""

from dataclasses import dataclass
from typing import Final

from scenario.conversation import Conversation, Step, line


@dataclass(frozen=True, kw_only=True)
class Way:
    """``opening`` ends with the reply to EHLO."""

    name: str
    port: int
    opening: tuple[Step, ...]

    def to(self, host: str, name: str, *steps: Step, patience_s: float = 30.0) -> Conversation:
        """A conversation that begins this way."""
        return Conversation(
            name=f"{name} | {self.name}",
            host=host,
            port=self.port,
            steps=(*self.opening, *steps),
            patience_s=patience_s,
        )

    @property
    def replies(self) -> int:
        """How many replies the opening has."""
        return sum(step.replies for step in self.opening)


_BANNER: Final = Step()
_EHLO: Final = line("EHLO client.example.org")
_TLS: Final = Step(tls=True, replies=0)
_CLEAR: Final = (_BANNER, _EHLO)
_STARTTLS: Final = (*_CLEAR, line("STARTTLS"), _TLS, _EHLO)
_587: Final = Way(name="587, STARTTLS", port=587, opening=_STARTTLS)
_465: Final = Way(name="465, TLS", port=465, opening=(_TLS, _BANNER, _EHLO))
IN_CLEAR: Final = (
    Way(name="25", port=25, opening=_CLEAR),
    Way(name="587", port=587, opening=_CLEAR),
)
UNDER_TLS: Final = (Way(name="25, STARTTLS", port=25, opening=_STARTTLS), _587, _465)
WAYS: Final = (IN_CLEAR[0], _587, _465)
"""As clients use the ports of a pool with users."""
