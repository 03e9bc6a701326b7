"""A real nginx with the configuration in docs/deployment.md, unchanged or with an error."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.live import ROOT
from tests.support.servers import free_port

DOCUMENT = (ROOT / "docs" / "deployment.md").read_text()
LISTEN = "listen 443 ssl http2;"

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None and os.environ.get("CI") != "true",
    reason="nginx is not installed; scripts/test installs it where it may",
)


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for `localhost`."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        made = cls(folder / "certificate.pem", folder / "key.pem")
        pem = serialization.Encoding.PEM
        made.certificate.write_bytes(certificate.public_bytes(pem))
        private = serialization.PrivateFormat.PKCS8
        made.key.write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()))
        return made


@contextmanager
def nginx(
    folder: Path,
    upstream_url: str,
    *,
    changes: Mapping[str, str] | None = None,
    certificate: Certificate | None = None,
) -> Iterator[str]:
    """The address of the site. `changes` replace documented lines; no TLS without certificate."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    listen = f"listen 127.0.0.1:{port};"
    if certificate:
        listen = (
            f"{LISTEN.replace('443', f'127.0.0.1:{port}')} "
            f"ssl_certificate {certificate.certificate}; ssl_certificate_key {certificate.key};"
        )
    ours = {LISTEN: listen, "127.0.0.1:8000": upstream_url.removeprefix("http://")}
    configuration = _configuration(folder, ours | dict(changes or {}))
    process = subprocess.Popen(["nginx", "-c", str(configuration), "-p", str(folder)])
    try:
        _wait_until_open(port, process)
        yield f"https://localhost:{port}" if certificate else f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _configuration(folder: Path, changes: Mapping[str, str]) -> Path:
    server, log_format = re.findall(r"```nginx\n(.*?)```", DOCUMENT, re.DOTALL)
    everywhere = {
        "/var/log/nginx/progress.log": str(folder / "access.log"),
        "server_name progress.example.org;": "server_name localhost;",
    }
    for documented, changed in (everywhere | dict(changes)).items():
        assert documented in server
        server = server.replace(documented, changed)
    paths = "".join(
        f"{kind}_temp_path {folder / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder / 'nginx.pid'}; error_log {folder / 'error.log'};\n"
        f"events {{}}\nhttp {{\n{paths}{log_format}{server}}}\n"
    )
    return configuration


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None
        with socket.socket() as probe:
            probe.settimeout(0.05)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx did not open its port")
