"""``kubectl smtp dns``: what a zone file needs, from what kubectl says."""

import json
import os
from pathlib import Path

import pytest

from smtpfleet.api.status import DkimEntry
from smtpfleet.cli.__main__ import main
from smtpfleet.cli.zone import strings, zone_lines

LONG = "v=DKIM1; k=rsa; p=" + "A" * 500


def entry(record: str, *, signing: bool = True) -> DkimEntry:
    return DkimEntry(
        domain="example.com", selector="s1", secret_name="key", algorithm="RSA", bits=2048, signing=signing,
        record_name="s1._domainkey.example.com", record=record,
    )  # fmt: skip


def test_no_string_is_longer_than_dns_allows_and_together_they_are_the_record() -> None:
    parts = strings(LONG)[1:-1].split('" "')
    assert [len(part) for part in parts] == [255, 255, 8]
    assert "".join(parts) == LONG


def test_a_line_says_name_and_value_and_what_the_key_does() -> None:
    lines = zone_lines([entry("v=DKIM1; p=x"), entry("v=DKIM1; p=y", signing=False), entry("")]).splitlines()
    assert lines == [
        "; RSA 2048 bits, signs",
        's1._domainkey.example.com. IN TXT ( "v=DKIM1; p=x" )',
        "; RSA 2048 bits, publish it before it signs",
        's1._domainkey.example.com. IN TXT ( "v=DKIM1; p=y" )',
        "; s1._domainkey.example.com: no relay has the key of Secret key yet",
    ]


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that notes its arguments and says what ``answer`` holds."""
    (tmp_path / "kubectl").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/answer\n')
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_kubectl_is_asked_with_the_callers_namespace(
    kubectl: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = entry("v=DKIM1; p=x").model_dump(mode="json", by_alias=True)
    (kubectl / "answer").write_text(json.dumps({"status": {"dkim": [told]}}))
    assert main(["dns", "outbound", "-n", "mail", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [told]
    asked = (kubectl / "asked").read_text()
    assert asked == "get smtppools.smtpfleet.io outbound -o json --namespace=mail\n"


def test_a_pool_without_keys_gets_a_comment(kubectl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kubectl / "answer").write_text("{}")
    assert main(["dns", "outbound"]) == 0
    assert "list them in spec.dkim" in capsys.readouterr().out


def test_kubectls_complaint_is_passed_on(kubectl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kubectl / "kubectl").write_text("#!/bin/sh\necho not found >&2\nexit 1\n")
    assert main(["dns", "outbound"]) == 1
    assert capsys.readouterr().err == "kubectl smtp: not found\n"
