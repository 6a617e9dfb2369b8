"""The configuration file that HAProxy loads, and the note of what it has loaded.

HAProxy may be started again by the kubelet at any moment, so the file is always whole, and always the newest that
HAProxy is known to accept.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.api.names import BALANCER_RUN_DIRECTORY

_DIRECTORY: Final = Path(BALANCER_RUN_DIRECTORY)


@dataclass(frozen=True, slots=True)
class Files:
    """The run directory that HAProxy and its agent share."""

    directory: Path = _DIRECTORY

    @property
    def configuration(self) -> Path:
        """What HAProxy reads when it starts or reloads."""
        return self.directory / "haproxy.cfg"

    @property
    def _loaded(self) -> Path:
        return self.directory / "loaded"

    def read(self) -> str:
        """The configuration; empty if there is none."""
        try:
            return self.configuration.read_text()
        except FileNotFoundError:
            return ""

    def write(self, text: str) -> None:
        """Put a configuration in place as a whole."""
        _replace(self.configuration, text)

    def write_scripts(self, scripts: Mapping[str, str]) -> None:
        """Put in place what the configuration loads besides, by name of file."""
        for name, text in scripts.items():
            _replace(self.directory / name, text)

    def note_loaded(self, text: str) -> None:
        """Remember that HAProxy runs with this text."""
        _replace(self._loaded, _digest(text))

    def is_loaded(self, text: str) -> bool:
        """Whether HAProxy runs with this text, as far as any agent of this pod knew."""
        try:
            return self._loaded.read_text() == _digest(text)
        except FileNotFoundError:
            return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _replace(path: Path, text: str) -> None:
    staged = path.with_name(f".{path.name}.new")
    staged.write_text(text)
    staged.rename(path)
