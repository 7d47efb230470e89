"""What is under kustomize/, as a cluster would get it, and how it is kept for machines without kubectl.

`python -m tests.cluster.manifests` writes what is made from the code (`tests.docs.made`), renders every overlay into
`rendered/` with the kubectl that is installed, and saves the API server's schemas of the kinds that occur, where
KUBECONFIG names a cluster. Both are committed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.docs import made

ROOT = Path(__file__).parents[2]
KUSTOMIZE = ROOT / "kustomize"
RENDERED = Path(__file__).parent / "rendered"
SCHEMAS = Path(__file__).parent / "schemas.json.gz"
OLDEST = (1, 27)
"""kubectl whose kustomize knows all that the overlays use."""

OVERLAYS = ("local", "production", "edge")
ADDED: dict[str, tuple[str, ...]] = {
    name: (f"../components/{name}",)
    for name in ("gpu", "kafka-nodeport", "monitoring", "operator")
    if (KUSTOMIZE / "components" / name / "kustomization.yaml").is_file()
}
"""Components that an overlay may add: each is rendered as part of `local`."""

Manifest = dict[str, Any]


def kubectl() -> str | None:
    """A kubectl that can render, if there is one."""
    found = shutil.which("kubectl")
    if found is None:
        return None
    told = subprocess.run([found, "version", "--client", "-o", "json"], capture_output=True, text=True, check=False)
    try:
        version = json.loads(told.stdout)["clientVersion"]
        number = int(version["major"]), int(re.sub(r"\D.*", "", version["minor"]))
    except (ValueError, KeyError):
        return None
    return found if number >= OLDEST else None


def render(command: str) -> Iterator[tuple[str, str]]:
    """(name, YAML) of every overlay and of `local` with each component, with secrets that are none."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "kustomize")
        shutil.copytree(KUSTOMIZE, copy, ignore=shutil.ignore_patterns("secrets"))
        for overlay in OVERLAYS:
            folder = copy / overlay / "secrets"
            folder.mkdir()
            for name in ("secret-key", "admin-password", "token"):
                (folder / name).write_text("not-a-secret")
        for name, components in ADDED.items():
            shutil.copytree(copy / "local", copy / f"local-{name}")
            file = copy / f"local-{name}" / "kustomization.yaml"
            content = yaml.safe_load(file.read_text())
            content["components"] = [*content["components"][:-1], *components, content["components"][-1]]
            file.write_text(yaml.safe_dump(content))
        for name in (*OVERLAYS, *(f"local-{name}" for name in ADDED)):
            done = subprocess.run([command, "kustomize", str(copy / name)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"kustomize/{name} cannot be rendered: {done.stderr}")
            yield name, done.stdout


def digest() -> str:
    """Of everything that rendering reads, so that a stale rendering is noticed without kubectl."""
    total = hashlib.sha256()
    for path in sorted(KUSTOMIZE.rglob("*")):
        if path.is_file() and "secrets" not in path.parts:
            total.update(f"{path.relative_to(KUSTOMIZE)}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()


def rendered() -> dict[str, list[Manifest]]:
    """The committed rendering: manifests by overlay."""
    return {
        path.stem: [item for item in yaml.safe_load_all(path.read_text()) if item]
        for path in sorted(RENDERED.glob("*.yaml"))
    }


# -- schemas ----------------------------------------------------------------------------------------------------------
def group_path(api_version: str) -> str:
    """Where the API server describes a group: `v1` -> `api/v1`, `apps/v1` -> `apis/apps/v1`."""
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def save_schemas(command: str) -> None:
    """Ask the cluster for the schemas of the rendering's built-in kinds, of Jobs and of pods; keep what they need."""
    kinds = {(item["apiVersion"], item["kind"]) for items in rendered().values() for item in items}
    kinds |= {("batch/v1", "Job"), ("v1", "Pod")}
    wanted: dict[str, str] = {}
    kept: dict[str, Any] = {}
    known = json.loads(_get(command, "/openapi/v3"))["paths"]
    for api_version in sorted({version for version, _ in kinds}):
        if group_path(api_version) not in known:
            continue  # a custom resource: its definition is elsewhere
        schemas = json.loads(_get(command, f"/openapi/v3/{group_path(api_version)}"))["components"]["schemas"]
        for name, schema in schemas.items():
            for kind in schema.get("x-kubernetes-group-version-kind", []):
                full = f"{kind['group']}/{kind['version']}" if kind["group"] else kind["version"]
                if (full, kind["kind"]) in kinds and full == api_version:
                    wanted[f"{full} {kind['kind']}"] = name
                    _keep(name, schemas, kept)
    body = json.dumps({"kinds": wanted, "schemas": kept}, sort_keys=True, separators=(",", ":")).encode()
    SCHEMAS.write_bytes(gzip.compress(body, 9, mtime=0))


def _get(command: str, path: str) -> str:
    return subprocess.run([command, "get", "--raw", path], capture_output=True, text=True, check=True).stdout


def _keep(name: str, schemas: dict[str, Any], kept: dict[str, Any]) -> None:
    if name in kept:
        return
    kept[name] = None  # a schema may name itself
    kept[name] = _strict(schemas[name])
    for reference in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schemas[name])):
        _keep(reference, schemas, kept)


def _strict(schema: Any) -> Any:
    """Without prose, and with unknown fields refused, as `kubectl apply --validate=strict` does."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            plain[key] = {name: _strict(item) for name, item in value.items()}
        elif key not in ("description", "default") and not key.startswith("x-kubernetes"):
            plain[key] = _strict(value)
    if (
        "properties" in plain
        and "additionalProperties" not in plain
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        plain["additionalProperties"] = False
    return plain


def schemas() -> tuple[dict[str, str], dict[str, Any]]:
    """(schema's name by "apiVersion kind", schemas by name)."""
    content = json.loads(gzip.decompress(SCHEMAS.read_bytes()))
    return content["kinds"], content["schemas"]


def main() -> int:
    """Render, and save the schemas."""
    command = kubectl()
    if command is None:
        print(f"error: a kubectl from {OLDEST[0]}.{OLDEST[1]} on is needed", file=sys.stderr)
        return 1
    made.main()
    RENDERED.mkdir(exist_ok=True)
    for path in RENDERED.glob("*.yaml"):
        path.unlink()
    for name, text in render(command):
        (RENDERED / f"{name}.yaml").write_text(text)
    (RENDERED / "inputs.sha256").write_text(digest() + "\n")
    try:
        save_schemas(command)
    except subprocess.CalledProcessError as error:
        print(f"the schemas stay as they were: {error.stderr.strip()}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
