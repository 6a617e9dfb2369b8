"""Every pool that the documentation shows is one that the operator takes, and every Secret has its right form."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from smtpfleet.api import names
from smtpfleet.api.pool import SmtpPoolSpec

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _manifests() -> Iterator[Any]:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, block in enumerate(_BLOCK.findall(page.read_text())):
            for document in yaml.safe_load_all(block):
                if document and document.get("kind"):
                    title = f"{page.relative_to(ROOT)}-{number}-{document['kind']}"
                    yield pytest.param(document, id=title)


MANIFESTS = list(_manifests())


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_the_manifest_is_valid(manifest: dict[str, Any]) -> None:
    assert manifest["apiVersion"]
    assert manifest["metadata"]["name"]
    assert manifest["metadata"]["namespace"]
    if manifest["kind"] == names.KIND:
        assert manifest["apiVersion"] == names.API_VERSION
        SmtpPoolSpec.model_validate(manifest["spec"])


def test_the_documentation_shows_pools() -> None:
    assert sum(param.values[0]["kind"] == names.KIND for param in MANIFESTS) >= 3
