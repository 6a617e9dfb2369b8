"""Building images with buildah, without an engine and without a trace outside the cache.

buildah's store is our own directory, and every command runs in a mount namespace of its own, so nothing stays mounted
when one is interrupted. Its layers make a build after a change of code take seconds.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from testbed import cache
from testbed.base_images import Image
from testbed.commands import run, run_logged

_PIP_SETTINGS = {
    *("index-url", "extra-index-url", "find-links", "trusted-host", "cert", "proxy"),
    *("timeout", "default-timeout", "retries"),
}
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_MOST_IMAGES = 600  # of the store, intermediate ones included; then it is emptied instead of growing for ever
# The same time on every file makes equal files equal layers, whenever and wherever they were checked out.
_TIME = 1_600_000_000


class Builder:
    """A build session; the caller holds the store's lock. Use as a context manager."""

    def __init__(self, base: Image, environ: Mapping[str, str] = os.environ) -> None:
        self._base = base
        self._environ = environ
        self._store = cache.root() / "buildah"

    def __enter__(self) -> "Builder":
        # Beside the layout, so that finished layers are moved there instead of copied.
        unfinished = cache.root() / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)  # absent unless a build was interrupted
        unfinished.mkdir(parents=True)
        self._scratch = unfinished
        if (
            self._store.exists()
            and len(run([*self._buildah(), "images", "--all", "--quiet"]).split()) > _MOST_IMAGES
        ):
            shutil.rmtree(self._store)
        run([*self._buildah(), "rm", "--all"])  # what an interrupted build left
        if (
            self._base.reference
            not in run([*self._buildah(), "images", "--format", "{{.Name}}:{{.Tag}}"]).split()
        ):
            run([*self._buildah(), "pull", "--quiet", f"docker-archive:{self._base.archive}"])
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._scratch)

    def build(self, target: str, reference: str, *, checkout: Path, files: Iterable[Path]) -> Path:
        """Build a target of images/Containerfile from these files; returns a directory as `Layout.add` takes it."""
        context = self._scratch / target
        stage_context(checkout, files, context)
        log = cache.root() / "logs" / f"image-{target}.log"
        log.unlink(missing_ok=True)
        options = [
            *("--layers", "--pull=never", "--isolation=chroot", f"--target={target}", f"--tag={reference}"),
            *(f"--build-arg=BASE={self._base.reference}", f"--file={checkout / 'images' / 'Containerfile'}"),
            *self._volumes(target),
        ]
        run_logged([*self._buildah(), "bud", *options, str(context)], log=log)
        # Unlike an OCI layout, this form keeps layers uncompressed, which is what makes them equal everywhere.
        finished = self._scratch / f"{target}.image"
        run_logged(
            [*self._buildah(), "push", "--quiet", "--disable-compression", reference, f"dir:{finished}"],
            log=log,
        )
        return finished

    def _buildah(self) -> list[str]:
        return [
            *("unshare", "--mount", "--propagation=private", "--", "buildah", f"--root={self._store}"),
            *(f"--runroot={self._scratch / 'run'}", "--storage-driver=overlay"),
        ]

    def _volumes(self, target: str) -> list[str]:
        """What the build sees of the host's way to the package index; none of it gets into the image."""
        settings = pip_settings(self._environ)
        config = self._scratch / f"{target}.pip.conf"
        config.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        local = [Path(word) for value in settings.values() for word in value.split() if word.startswith("/")]
        visible = [path for path in sorted({_AUTHORITIES, *local}) if path.exists()]
        mounts = [f"{config}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in visible)]
        return [f"--volume={mount}" for mount in mounts]


def pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings of pip that the environment carries, in the words of its configuration file."""
    words = {
        name: name.removeprefix("PIP_").lower().replace("_", "-") for name in environ if "PIP_" in name[:4]
    }
    return {
        word.removeprefix("default-"): environ[name] for name, word in words.items() if word in _PIP_SETTINGS
    }


def stage_context(checkout: Path, files: Iterable[Path], context: Path) -> None:
    """Copy the inputs, and nothing else, to a directory; modes and times depend on nothing but the files."""
    for file in files:
        place = context / file.relative_to(checkout)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        place.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
    for directory, _, names in os.walk(context, topdown=False):
        for name in names:
            os.utime(Path(directory) / name, (_TIME, _TIME))
        os.chmod(directory, 0o755)
        os.utime(directory, (_TIME, _TIME))
