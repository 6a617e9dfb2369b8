"""Generated files are what the generators make: after a change of the models or the chart run `make generate`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from smtpfleet.api import crd
from testbed import generate

ROOT = Path(__file__).resolve().parents[2]


def _documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def _identity(thing: dict[str, Any]) -> tuple[str, str, str]:
    return thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def test_the_crd_file_is_what_the_models_say() -> None:
    assert (ROOT / generate.CRD_FILE).read_text() == crd.crd_yaml()


def test_the_charts_crd_is_the_same_text_with_a_condition_around_it() -> None:
    assert (ROOT / generate.CRD_TEMPLATE).read_text() == generate.crd_template(crd.crd_yaml())


def test_the_rendered_crd_has_the_same_spec_and_is_kept() -> None:
    rendered = _documents(generate.rendered_chart(ROOT / generate.CHART))
    found = next(document for document in rendered if document["kind"] == "CustomResourceDefinition")
    assert found["spec"] == crd.crd()["spec"]
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_one_file_deployment_is_the_chart_in_its_namespace() -> None:
    rendered = {
        _identity(thing): thing for thing in _documents(generate.rendered_chart(ROOT / generate.CHART))
    }
    namespace, *rest = _documents((ROOT / generate.DEPLOY_FILE).read_text())
    assert _identity(namespace) == ("Namespace", "", generate.NAMESPACE)
    assert {_identity(thing): thing for thing in rest} == rendered


def test_writing_the_files_again_changes_nothing() -> None:
    assert generate.write_all(ROOT) == []


def test_the_generator_writes_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / generate.CHART.parent).mkdir(parents=True)
    (tmp_path / generate.CHART).symlink_to(ROOT / generate.CHART)
    changed = generate.write_all(tmp_path)
    assert changed == [generate.CRD_FILE, generate.DEPLOY_FILE]
    assert (tmp_path / generate.DEPLOY_FILE).read_text() == (ROOT / generate.DEPLOY_FILE).read_text()


@pytest.mark.parametrize("text", ["metadata:\n  name: {{ x }}\n", "metadata: {}\n"])
def test_a_crd_that_cannot_become_a_template_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="the CRD has"):
        generate.crd_template(text)
