#!/bin/sh
# code.sh: our own code in /opt/mainstem/app, compiled, and known to Python's package metadata by name and version.
set -eu
cd /opt/mainstem/app
/opt/mainstem/bin/python - <<'PYTHON'
import pathlib, tomllib
project = tomllib.loads(pathlib.Path("/build/pyproject.toml").read_text())["project"]
folder = pathlib.Path(f"{project['name']}-{project['version']}.dist-info")
folder.mkdir()
folder.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
PYTHON
/opt/mainstem/bin/python -m compileall -q --invalidation-mode unchecked-hash .
