"""The images that no registry is needed for: the Debian base of all our images, and the pause image.

Written as docker-archive files by ourselves, so that the base is the very same layer in every image made from it.
"""

import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass
from pathlib import Path

from testbed import binaries, cache
from testbed.commands import run_logged
from testbed.progress import step

SUITE = "trixie"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
_FORMAT = "1"  # part of the hash: raise it when the way archives are written changes


@dataclass(frozen=True)
class Image:
    """An image in a file: what pods call it, and a docker-archive or oci-archive that holds it."""

    reference: str
    archive: Path


def base() -> Image:
    """Debian with Python, made by mmdebstrap: what our images are built from."""
    key = cache.digest([_FORMAT, SUITE, *PACKAGES])
    reference = f"localhost/smtpfleet-base:{key}"

    def make(target: Path) -> None:
        layer = target / "layer.tar"
        with step(f"make the Debian {SUITE} base image (about a minute)"):
            run_logged(
                ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(layer)],
                log=target / "build.log",
            )
            write_archive(target / "image.tar", reference=reference, layer=layer, command=["/bin/sh"])
            layer.unlink()

    return Image(reference, cache.obtain("base-image", key, make) / "image.tar")


def pause() -> Image:
    """The image of the process that holds each pod's namespaces."""
    program = binaries.go_program("pause")
    key = cache.digest([_FORMAT, program.read_bytes()])
    reference = f"localhost/smtpfleet-pause:{key}"

    def make(target: Path) -> None:
        layer = target / "layer.tar"
        with tarfile.open(layer, "w") as tar:
            entry = tarfile.TarInfo("pause")
            entry.size, entry.mode = program.stat().st_size, 0o755
            with program.open("rb") as source:
                tar.addfile(entry, source)
        write_archive(target / "image.tar", reference=reference, layer=layer, command=["/pause"])
        layer.unlink()

    return Image(reference, cache.obtain("pause-image", key, make) / "image.tar")


def write_archive(archive: Path, *, reference: str, layer: Path, command: list[str]) -> None:
    """Write a docker-archive with one layer, given as an uncompressed tar file."""
    with layer.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Cmd": command,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": [f"{digest}.tar"]}]
    with tarfile.open(archive, "w") as tar:
        tar.add(layer, arcname=f"{digest}.tar")
        for name, content in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _architecture() -> str:
    """The machine's architecture in the words of OCI."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
