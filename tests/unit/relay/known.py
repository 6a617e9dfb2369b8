"""What a relay's agent knows of Secrets, told by a test."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Known:
    """Contents by name; a name without content is missing if it is in ``gone``."""

    contents: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def get(self, name: str) -> Mapping[str, bytes] | None:
        return self.contents.get(name)

    def missing(self, name: str) -> bool:
        return name in self.gone

    def error(self, name: str) -> str:
        return f"Secret mail/{name} is missing" if name in self.gone else "no answer yet"
