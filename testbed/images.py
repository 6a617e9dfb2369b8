"""Our images: built when their inputs changed, and in every node of the cluster.

An image is called after the hash of its inputs, so a pod's image says which code it runs, an unchanged checkout costs a
second, and clusters of several checkouts can share the store.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from testbed import base_images, cache, containerfile
from testbed.access import write_whole
from testbed.base_images import Image
from testbed.builder import Builder
from testbed.containerfile import Stage
from testbed.oci_layout import Layout
from testbed.progress import step

TARGETS = ("operator", "relay", "balancer", "sink")
_KEPT_PER_TARGET = 8
_FORMAT = "2"  # part of the hash: raise it when the way images are built changes


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to make one image: its reference carries the hash of everything that goes into it."""

    target: str
    reference: str
    files: tuple[Path, ...]

    @property
    def repository(self) -> str:
        """The reference without its tag."""
        return self.reference.rsplit(":", 1)[0]


def recipe(target: str, stages: Mapping[str, Stage], *, checkout: Path, base: str) -> Recipe:
    """The recipe of a target as the checkout is now; `base` is the reference of the base image."""
    parts = containerfile.needed(target, dict(stages))
    files = containerfile.source_files(checkout, parts)
    texts = [part.text for part in sorted(parts, key=lambda part: part.name)]
    key = cache.digest([_FORMAT, base, *texts, cache.digest_of_files(checkout, files)])
    return Recipe(target=target, reference=f"localhost/smtpfleet-{target}:{key}", files=tuple(files))


def recipes(checkout: Path, base: str) -> list[Recipe]:
    """The recipes of all targets; raises TestbedError when the Containerfile lacks one."""
    stages = containerfile.stages((checkout / "images" / "Containerfile").read_text())
    return [recipe(target, stages, checkout=checkout, base=base) for target in TARGETS]


def store() -> Layout:
    """Where finished images are."""
    return Layout(cache.root() / "images")


def build(checkout: Path) -> list[Recipe]:
    """Build what is not built yet; returns the recipes of all images, which are in the store now."""
    base = base_images.base()
    wanted = recipes(checkout, base.reference)
    if not _missing(wanted):
        return wanted
    with cache.locked("images"):
        missing = _missing(wanted)
        if missing:
            _build_missing(missing, base, checkout)
            store().keep(_recent(store().images(), {recipe.reference for recipe in wanted}))
    return wanted


def write_archive(recipe: Recipe, sink: IO[bytes], *, without: Collection[str]) -> None:
    """Write a built image as an OCI archive, leaving out the blobs that the receiver has."""
    finished = store()
    finished.write_archive(finished.images()[recipe.reference], sink, without=without)


def _missing(wanted: Iterable[Recipe]) -> list[Recipe]:
    present = store().images()
    return [recipe for recipe in wanted if recipe.reference not in present]


def _build_missing(missing: list[Recipe], base: Image, checkout: Path) -> None:
    """Build two at a time: the relay's and the balancer's image share a stage, which the later one finds made."""
    with step(f"build images: {', '.join(recipe.target for recipe in missing)}"), Builder(base) as builder:

        def make(recipe: Recipe) -> Path:
            return builder.build(recipe.target, recipe.reference, checkout=checkout, files=recipe.files)

        with ThreadPoolExecutor(max_workers=2) as pool:
            for recipe, directory in zip(missing, pool.map(make, missing), strict=True):
                store().add(directory, recipe.reference)


def _recent(references: Iterable[str], always: set[str]) -> set[str]:
    """The references to keep: those in use here, and of each target the newest few, which other checkouts may use."""
    by_repository: dict[str, list[str]] = {}
    for reference in references:
        by_repository.setdefault(reference.rsplit(":", 1)[0], []).append(reference)
    newest = {reference for versions in by_repository.values() for reference in versions[-_KEPT_PER_TARGET:]}
    return newest | always


def write_references(path: Path, references: Mapping[str, str]) -> None:
    """Write what `make install` installs: target to reference."""
    write_whole(path, json.dumps(references, indent=1) + "\n")
