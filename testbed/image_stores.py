"""What containerd keeps of images, unpacked once for all nodes of all clusters.

Unpacking takes a node some ten seconds of processor time. Here it is done once for a set of images, by a containerd of
our own; a node begins with a copy whose files are links. containerd only ever adds and removes files, except for its
two databases, which are copied.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from testbed import cache, images
from testbed.base_images import Image
from testbed.commands import run
from testbed.images import Recipe
from testbed.polling import until
from testbed.progress import step

_FORMAT = "1"  # part of the hash: raise it when the way stores are made changes
_NAME = "image-store"
_KEPT = 3
_STOP_WITHIN_S = 30


def fill(root: Path, pause: Image, own: Sequence[Recipe]) -> None:
    """Give a node that has no store yet, at `root`, one that holds these images."""
    if root.exists():
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    staged = root.with_name(f"{root.name}.new")
    shutil.rmtree(staged, ignore_errors=True)  # absent unless an earlier start was interrupted
    # Nobody may remove an old store while somebody copies it.
    with cache.locked(f"{_NAME}s"):
        source = _obtain(pause, own)
        same_disk = source.stat().st_dev == root.parent.stat().st_dev
        run(["cp", "-a", *(["-l"] if same_disk else []), str(source), str(staged)])
        for database in source.glob("io.containerd.*/*.db"):
            place = staged / database.relative_to(source)
            place.unlink()
            shutil.copyfile(database, place)
    staged.rename(root)


def _obtain(pause: Image, own: Sequence[Recipe]) -> Path:
    """The store that holds exactly these images, made unless it is there."""
    references = [pause.reference, *(recipe.reference for recipe in own)]
    key = cache.digest([_FORMAT, run(["containerd", "--version"]), *references])

    def make(target: Path) -> None:
        with step("unpack images"):
            _unpack(target / "root", target / "containerd.log", pause, own)

    place = cache.obtain(_NAME, key, make)
    os.utime(place)
    forget_old(cache.root())
    return place / "root"


def forget_old(directory: Path) -> None:
    """Remove all stores but the few that were used last; nodes that began with them have links of their own."""
    stores = sorted(directory.glob(f"{_NAME}-*"), key=lambda store: store.stat().st_mtime)
    for store in stores[:-_KEPT]:
        shutil.rmtree(store)


def _unpack(root: Path, log: Path, pause: Image, own: Sequence[Recipe]) -> None:
    """Import the images into a store by a containerd that runs only meanwhile, and mounts where nobody sees it."""
    with tempfile.TemporaryDirectory() as scratch, log.open("wb") as output:
        address = f"{scratch}/containerd.sock"
        config = Path(scratch) / "config.toml"
        config.write_text(_configuration(root, scratch, address))
        alone = ("unshare", "--mount", "--propagation=private", "--", "setpriv", "--pdeathsig=KILL", "--")
        daemon = subprocess.Popen(
            [*alone, "containerd", "--config", str(config)], stdout=output, stderr=output
        )
        try:
            ctr = ["ctr", f"--address={address}", "--namespace=k8s.io"]
            until(lambda: run([*ctr, "version"]), f"containerd, see {log}")
            run([*ctr, "images", "import", str(pause.archive)])
            for recipe in own:
                with tempfile.TemporaryFile() as archive:
                    present = set(run([*ctr, "content", "ls", "-q"]).split())
                    images.write_archive(recipe, archive, without=present)
                    archive.seek(0)
                    run([*ctr, "images", "import", "-"], stdin=archive)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(_STOP_WITHIN_S)


def _configuration(root: Path, state: str, address: str) -> str:
    return f"""version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{address}"
"""
