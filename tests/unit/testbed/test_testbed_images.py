"""Finished images share their layers, and a node is sent only those that it lacks."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from testbed import image_stores
from testbed.builder import pip_settings, stage_context
from testbed.oci_layout import Layout


def finished(directory: Path, *layers: bytes) -> Path:
    """What a build leaves: a manifest, and files called by their digests."""
    directory.mkdir()
    parts = []
    for content in (json.dumps({"of": directory.name}).encode(), *layers):
        digest = hashlib.sha256(content).hexdigest()
        (directory / digest).write_bytes(content)
        parts.append({"digest": f"sha256:{digest}", "size": len(content)})
    manifest = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": parts[0],
        "layers": parts[1:],
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "layout")
    found.add(finished(tmp_path / "one", b"base", b"code 1"), "relay:1")
    found.add(finished(tmp_path / "two", b"base", b"code 2"), "relay:2")
    return found


def layers_sent(layout: Layout, reference: str, without: set[str]) -> set[bytes]:
    sink = io.BytesIO()
    layout.write_archive(layout.images()[reference], sink, without=without)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        contents = {archive.extractfile(member) for member in archive if member.name.startswith("blobs/")}
        read = {stream.read() for stream in contents if stream}
    return {content for content in read if not content.startswith(b"{")}


def test_an_empty_store_has_no_images(tmp_path: Path) -> None:
    assert Layout(tmp_path).images() == {}


def test_a_node_without_anything_gets_every_layer(layout: Layout) -> None:
    assert layers_sent(layout, "relay:2", set()) == {b"base", b"code 2"}


def test_a_node_with_the_older_image_gets_the_changed_layer_only(layout: Layout) -> None:
    present = set(layout.blobs(layout.images()["relay:1"]))
    assert layers_sent(layout, "relay:2", present) == {b"code 2"}


def test_an_archive_names_its_image(layout: Layout) -> None:
    sink = io.BytesIO()
    layout.write_archive(layout.images()["relay:1"], sink)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        stream = archive.extractfile("index.json")
        assert stream is not None
        (entry,) = json.load(stream)["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "relay:1"


def test_forgetting_an_image_removes_the_layers_that_only_it_had(layout: Layout) -> None:
    layout.keep({"relay:2"})
    assert list(layout.images()) == ["relay:2"]
    stored = {blob.read_bytes() for blob in (layout.directory / "blobs" / "sha256").iterdir()}
    assert {b"base", b"code 2"} <= stored
    assert b"code 1" not in stored


def test_the_build_context_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "code").mkdir(parents=True)
    (source / "code" / "main.py").write_text("x")
    for name in ("one", "two"):
        stage_context(source, [source / "code" / "main.py"], tmp_path / name)
    one, two = ((tmp_path / name / "code" / "main.py").stat() for name in ("one", "two"))
    assert (one.st_mtime, one.st_mode) == (two.st_mtime, two.st_mode)
    assert not (tmp_path / "one" / "code" / "__pycache__").exists()


def test_pip_in_a_build_goes_the_same_way_as_pip_outside() -> None:
    environ = {
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_DEFAULT_TIMEOUT": "60",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "HOME": "/root",
    }
    assert pip_settings(environ) == {"index-url": "https://index.example/simple", "timeout": "60"}


def test_the_stores_that_were_used_last_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    for age, name in enumerate(
        ["image-store-d", "image-store-a", "image-store-c", "image-store-b", "images"]
    ):
        (tmp_path / name / "root").mkdir(parents=True)
        os.utime(tmp_path / name, (10_000 - age, 10_000 - age))
    image_stores.forget_old(tmp_path)
    kept = {"image-store-d", "image-store-a", "image-store-c", "images"}
    assert {place.name for place in tmp_path.iterdir()} == kept
    image_stores.forget_old(tmp_path)
    assert {place.name for place in tmp_path.iterdir()} == kept
