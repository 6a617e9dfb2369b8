"""Files of the repository that are made from other files: the CRD, the chart's copy of it, and the one-file deployment.

The models in operator/smtpfleet/api are the only source of the CRD, and the chart is the only source of
deploy/smtpfleet.yaml. `python -m testbed.generate` writes the files; a test compares them with what this module makes.
"""

from collections.abc import Sequence
from pathlib import Path

from smtpfleet.api import crd
from testbed.binaries import client_tools
from testbed.commands import run
from testbed.identity import checkout_of_this_file

CHART = Path("charts/smtpfleet")
CRD_FILE = Path(f"crds/{crd.CRD_NAME}.yaml")
CRD_TEMPLATE = CHART / "templates/crd.yaml"
DEPLOY_FILE = Path("deploy/smtpfleet.yaml")
RELEASE = "smtpfleet"
NAMESPACE = "smtpfleet-system"

_DEPLOY_HEAD = f"""\
# Generated from {CHART} by `make generate`: change the chart, not this file.
# The operator for all namespaces: kubectl apply -f {DEPLOY_FILE}
# Do not `kubectl delete -f` it: with the CustomResourceDefinition every pool would go.
---
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""


def crd_template(text: str) -> str:
    """The chart's template of the CRD: the same text with a condition around it, kept on uninstall."""
    if "{{" in text:
        raise ValueError("the CRD has text that Helm would take for a template")
    name = f"  name: {crd.CRD_NAME}\n"
    if text.count(name) != 1:
        raise ValueError("the CRD has no place for the chart's labels")
    marks = (
        "  annotations:\n"
        "    # Uninstalling the release must not delete the pools and, with them, mail.\n"
        "    helm.sh/resource-policy: keep\n"
        "  labels:\n"
        '    {{- include "smtpfleet.labels" . | nindent 4 }}\n'
    )
    return "{{- if .Values.crds.enabled }}\n" + text.replace(name, name + marks) + "{{- end }}\n"


def rendered_chart(chart: Path, *, values: Sequence[str] = (), tests: bool = False) -> str:
    """What `helm template` makes of the chart; `values` are --set assignments, `tests` adds those of `helm test`.

    Raises CommandError with Helm's words when the chart refuses the values.
    """
    helm = [str(client_tools() / "helm"), "template", RELEASE, str(chart), "--namespace", NAMESPACE]
    options = [] if tests else ["--skip-tests"]
    return run([*helm, *options, *(word for value in values for word in ("--set-json", value))])


def write_all(checkout: Path) -> list[Path]:
    """Write every generated file of a checkout; returns those that changed, relative to it."""
    changed = []

    def write(file: Path, text: str) -> None:
        place = checkout / file
        if not place.exists() or place.read_text() != text:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            changed.append(file)

    text = crd.crd_yaml()
    write(CRD_FILE, text)
    write(CRD_TEMPLATE, crd_template(text))
    write(DEPLOY_FILE, _DEPLOY_HEAD + rendered_chart(checkout / CHART))
    return changed


def main() -> None:
    """Write the files and say which of them changed."""
    changed = write_all(checkout_of_this_file())
    print("\n".join(f"written: {file}" for file in changed) or "all generated files are up to date")


if __name__ == "__main__":
    main()
