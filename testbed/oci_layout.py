"""The store of finished images: one OCI image layout, in which images of many versions share their layers.

Layers are kept uncompressed, so equal layers have equal digests in every image and node, and a node is sent only what
it lacks: after a change of code that is one small layer.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

REFERENCE = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class StoredImage:
    """An image of the store: its reference, and the descriptor of its manifest."""

    reference: str
    manifest: dict[str, Any]


class Layout:
    """An OCI image layout in a directory; callers hold the store's lock while they change it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def images(self) -> dict[str, StoredImage]:
        """The images by reference, oldest first."""
        index = self.directory / "index.json"
        manifests = json.loads(index.read_text())["manifests"] if index.exists() else []
        named = [(entry.get("annotations", {}).get(REFERENCE), entry) for entry in manifests]
        return {name: StoredImage(name, entry) for name, entry in named if name}

    def blobs(self, image: StoredImage) -> list[str]:
        """Digests of everything an image consists of, its manifest first."""
        digest = image.manifest["digest"]
        manifest = json.loads(self._blob(digest).read_bytes())
        return [digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]

    def add(self, directory: Path, reference: str) -> None:
        """Move an image in from a directory with `manifest.json` and files named by the digests of their contents."""
        place = self.directory / "blobs" / "sha256"
        place.mkdir(parents=True, exist_ok=True)
        manifest = (directory / "manifest.json").read_bytes()
        name = hashlib.sha256(manifest).hexdigest()
        (directory / name).write_bytes(manifest)
        described = json.loads(manifest)
        for part in (described["config"], *described["layers"], {"digest": f"sha256:{name}"}):
            blob = part["digest"].removeprefix("sha256:")
            if not (place / blob).exists():
                (directory / blob).rename(place / blob)
        descriptor = {
            "mediaType": described["mediaType"],
            "digest": f"sha256:{name}",
            "size": len(manifest),
            "annotations": {REFERENCE: reference},
        }
        others = [image.manifest for image in self.images().values() if image.reference != reference]
        self._write_index([*others, descriptor])

    def keep(self, references: Collection[str]) -> None:
        """Forget all images but these, and remove the layers that only the forgotten ones used."""
        kept = [image for image in self.images().values() if image.reference in references]
        used = {digest.removeprefix("sha256:") for image in kept for digest in self.blobs(image)}
        self._write_index([image.manifest for image in kept])
        for blob in (self.directory / "blobs" / "sha256").iterdir():
            if blob.name not in used:
                blob.unlink()

    def _write_index(self, manifests: list[dict[str, Any]]) -> None:
        staged = self.directory / "index.json.new"
        staged.write_text(json.dumps({"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": manifests}))
        staged.rename(self.directory / "index.json")

    def write_archive(self, image: StoredImage, sink: IO[bytes], *, without: Collection[str] = ()) -> None:
        """Write the image as an OCI archive, leaving out the blobs that the receiver has."""
        descriptor = {
            **image.manifest,
            "annotations": {_CONTAINERD_NAME: image.reference, REFERENCE: image.reference},
        }
        index = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": [descriptor]}
        with tarfile.open(fileobj=sink, mode="w|") as tar:
            _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
            _add(tar, "index.json", json.dumps(index).encode())
            for digest in self._sent(image, without):
                tar.add(self._blob(digest), arcname=f"blobs/sha256/{digest.removeprefix('sha256:')}")

    def _sent(self, image: StoredImage, without: Collection[str]) -> Iterator[str]:
        manifest, config, *layers = self.blobs(image)
        yield manifest
        yield config
        yield from dict.fromkeys(layer for layer in layers if layer not in without)

    def _blob(self, digest: str) -> Path:
        return self.directory / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
