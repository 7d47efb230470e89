"""`build.sh` without a builder that builds: what it leaves, and when."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"secret-key", "admin-password", "token"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `build.sh` needs of this one, and a docker that notes which secrets there are and then fails."""
    for name in ("docker", "kustomize"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("secrets"))
    for name in ("build.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\nls kustomize/local/secrets > seen 2>&1\necho no builder\nexit 1\n")
    docker.chmod(0o755)
    return tmp_path


def build(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it."""
    environment = os.environ | {"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"}
    command = [str(checkout / "build.sh"), "--builder", "docker", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_secrets_are_there_before_the_first_image(checkout: Path) -> None:
    """`kubectl apply -k kustomize/local` has them while images are being built, and after a build that failed."""
    done = build(checkout)
    assert done.returncode == 1 and "could not be built" in done.stderr
    assert set((checkout / "seen").read_text().split()) == SECRETS
    kept = {name: (checkout / "kustomize/local/secrets" / name).read_bytes() for name in SECRETS}
    build(checkout)
    assert kept == {name: (checkout / "kustomize/local/secrets" / name).read_bytes() for name in SECRETS}


def test_one_image_makes_no_secrets(checkout: Path) -> None:
    """Nobody asked for the platform."""
    build(checkout, "federated_kafka")
    assert not (checkout / "kustomize/local/secrets").exists()
