"""Certificates of a cluster: its authority, the API server's certificate, the key that signs service account tokens.

Made once per cluster with openssl, never renewed: a test cluster lives for hours.
"""

from pathlib import Path

from testbed.addresses import API_SERVICE_ADDRESS, CLUSTER_DOMAIN, CONTROL_PLANE_ADDRESS
from testbed.commands import run

_DAYS = "3650"


def make(directory: Path) -> None:
    """Make what is missing in the directory: ca.{crt,key}, apiserver.{crt,key}, service-account.{key,pub}."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    if (directory / "complete").exists():
        return
    key_type = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl(
        directory,
        *(
            "req",
            "-x509",
            *key_type,
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
            "-days",
            _DAYS,
            "-subj",
            "/CN=testbed",
        ),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
    )
    (directory / "apiserver.ext").write_text(
        f"subjectAltName={','.join(_alternative_names())}\nextendedKeyUsage=serverAuth\n"
    )
    _openssl(
        directory,
        "req",
        *key_type,
        "-keyout",
        "apiserver.key",
        "-out",
        "apiserver.csr",
        "-subj",
        "/CN=apiserver",
    )
    _openssl(
        directory,
        *("x509", "-req", "-in", "apiserver.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "apiserver.crt", "-days", _DAYS, "-extfile", "apiserver.ext"),
    )
    _openssl(directory, "genrsa", "-out", "service-account.key", "2048")
    _openssl(directory, "rsa", "-in", "service-account.key", "-pubout", "-out", "service-account.pub")
    (directory / "complete").touch()


def _alternative_names() -> list[str]:
    service = "kubernetes.default.svc"
    names = ["localhost", "kubernetes", "kubernetes.default", service, f"{service}.{CLUSTER_DOMAIN}"]
    addresses = ["127.0.0.1", CONTROL_PLANE_ADDRESS, API_SERVICE_ADDRESS]
    return [*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)]


def _openssl(directory: Path, *arguments: str) -> None:
    run(["openssl", *arguments], cwd=directory)
