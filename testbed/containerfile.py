"""What an image is made from, read from the Containerfile: the stages that a target needs and the files they copy.

The hash of exactly these is the image's tag, so an image is built again when, and only when, one of them changed. Only
what such a file may contain here is understood: `FROM … AS …`, `COPY` with or without `--from`, continuation lines.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import TestbedError

_NEVER_COPIED = {"__pycache__", ".git"}


@dataclass(frozen=True)
class Stage:
    """One `FROM` with its instructions; `needs` are the names of stages or images that it builds on."""

    name: str
    text: str
    needs: tuple[str, ...]
    sources: tuple[str, ...]


def stages(text: str) -> dict[str, Stage]:
    """The stages of a Containerfile, by name."""
    found: dict[str, Stage] = {}
    for lines in _sections(_instructions(text)):
        words = shlex.split(lines[0])
        if len(words) != 4 or words[2].upper() != "AS":
            raise TestbedError(f"The Containerfile's stage {lines[0]!r} has no name: write FROM … AS ….")
        copies = [_copy(line) for line in lines if line.split(maxsplit=1)[0].upper() in {"COPY", "ADD"}]
        found[words[3]] = Stage(
            name=words[3],
            text="\n".join(lines),
            needs=(words[1], *(stage for stage, _ in copies if stage)),
            sources=tuple(source for stage, sources in copies if not stage for source in sources),
        )
    return found


def _instructions(text: str) -> list[str]:
    """Logical lines without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def _sections(lines: list[str]) -> list[list[str]]:
    """Instructions grouped by their FROM; what stands before the first is left out."""
    sections: list[list[str]] = []
    for line in lines:
        if line.split(maxsplit=1)[0].upper() == "FROM":
            sections.append([line])
        elif sections:
            sections[-1].append(line)
    return sections


def _copy(line: str) -> tuple[str, list[str]]:
    """Stage (or empty) and sources of a COPY."""
    words = shlex.split(line.split(" #", maxsplit=1)[0])[1:]
    flags = [word for word in words if word.startswith("--")]
    paths = [word for word in words if not word.startswith("--")]
    stage = next((flag.removeprefix("--from=") for flag in flags if flag.startswith("--from=")), "")
    return stage, paths[:-1]


def needed(target: str, of: dict[str, Stage]) -> list[Stage]:
    """The target's stage and those it builds on; raises TestbedError when there is no such target."""
    if target not in of:
        raise TestbedError(f"images/Containerfile has no target {target}.")
    order, queue = [], [target]
    while queue:
        name = queue.pop()
        if name in of and of[name] not in order:
            order.append(of[name])
            queue += of[name].needs
    return order


def source_files(checkout: Path, parts: list[Stage]) -> list[Path]:
    """Every file of the checkout that the stages copy; raises TestbedError for a source that does not exist."""
    files: set[Path] = set()
    for source in {source for part in parts for source in part.sources}:
        place = checkout / source
        if not place.exists():
            raise TestbedError(f"images/Containerfile copies {source}, which does not exist.")
        candidates = place.rglob("*") if place.is_dir() else [place]
        files.update(file for file in candidates if file.is_file() and not _NEVER_COPIED & set(file.parts))
    return sorted(files)
