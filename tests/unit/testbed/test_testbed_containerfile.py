"""An image's tag changes when, and only when, something that goes into the image changes."""

from pathlib import Path

import pytest

from testbed import containerfile, images
from testbed.errors import TestbedError
from testbed.identity import checkout_of_this_file

TEXT = """
ARG BASE=debian:trixie-slim
FROM ${BASE} AS python
RUN true
# a comment
FROM python AS venv
COPY locks/a.txt /tmp/
FROM python AS relay
COPY --from=venv /opt /opt
COPY --chown=1:1 code \\
     /srv
FROM python AS sink
COPY sink.py /srv/
"""
BASE = "localhost/base:1"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("locks/a.txt", "code/main.py", "code/__pycache__/main.pyc", "sink.py", "README"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def tag(target: str, checkout: Path, text: str = TEXT, base: str = BASE) -> str:
    stages = containerfile.stages(text)
    return images.recipe(target, stages, checkout=checkout, base=base).reference


def test_a_target_is_made_from_its_stage_and_those_that_it_builds_on() -> None:
    parts = containerfile.needed("relay", containerfile.stages(TEXT))
    assert {part.name for part in parts} == {"relay", "venv", "python"}


def test_only_what_the_stages_copy_goes_in_and_no_byte_code(checkout: Path) -> None:
    parts = containerfile.needed("relay", containerfile.stages(TEXT))
    files = containerfile.source_files(checkout, parts)
    assert [str(file.relative_to(checkout)) for file in files] == ["code/main.py", "locks/a.txt"]


@pytest.mark.parametrize("changed", ["code/main.py", "locks/a.txt"])
def test_a_changed_input_changes_the_tag(checkout: Path, changed: str) -> None:
    before = tag("relay", checkout)
    (checkout / changed).write_text("other")
    assert tag("relay", checkout) != before


@pytest.mark.parametrize("changed", ["sink.py", "README", "code/__pycache__/main.pyc"])
def test_what_does_not_go_into_the_image_does_not_change_the_tag(checkout: Path, changed: str) -> None:
    before = tag("relay", checkout)
    (checkout / changed).write_text("other")
    assert tag("relay", checkout) == before


def test_an_instruction_of_a_stage_below_changes_the_tag(checkout: Path) -> None:
    assert tag("relay", checkout) != tag("relay", checkout, TEXT.replace("RUN true", "RUN false"))


def test_another_base_changes_the_tag(checkout: Path) -> None:
    assert tag("relay", checkout) != tag("relay", checkout, base="localhost/base:2")


def test_a_target_that_is_missing_is_an_error(checkout: Path) -> None:
    with pytest.raises(TestbedError, match="no target balancer"):
        tag("balancer", checkout)


def test_a_source_that_is_missing_is_an_error(checkout: Path) -> None:
    (checkout / "sink.py").unlink()
    with pytest.raises(TestbedError, match=r"copies sink\.py"):
        tag("sink", checkout)


def test_the_containerfile_of_this_repository_has_every_target() -> None:
    checkout = checkout_of_this_file()
    found = {recipe.target: recipe.reference for recipe in images.recipes(checkout, BASE)}
    assert set(found) == set(images.TARGETS)
    assert all(reference.startswith(f"localhost/smtpfleet-{target}:") for target, reference in found.items())
