"""Certificates for brokers and clients in tests, made with the `openssl` command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs: `certificate` is what clients trust."""

    key: Path
    certificate: Path

    @classmethod
    def made(cls, folder: Path, name: str) -> Authority:
        """A new one called `name`."""
        made = cls(folder / f"{name}.key", folder / f"{name}.crt")
        _openssl(
            "req", "-x509", *_KEY, "-subj", f"/CN={name}", "-days", "2", "-keyout", made.key, "-out", made.certificate
        )
        return made

    def issue(self, folder: Path, name: str, host: str, days: int = 1) -> Path:
        """A PEM file with a key and the certificate for `host`; one for -1 days has expired."""
        key, request, signed, more = (folder / f"{name}.{end}" for end in ("key", "csr", "crt", "ext"))
        more.write_text(f"subjectAltName=DNS:{host}\n")
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
            "-extfile", more, "-days", str(days), "-out", signed,
        )  # fmt: skip
        store = folder / f"{name}.pem"
        store.write_text(key.read_text() + signed.read_text() + self.certificate.read_text())
        return store


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
