#!/usr/bin/env bash
# Make the locked requirements anew from pyproject.toml: exact versions with hashes of every file, for Python 3.11 to
# 3.13 on Linux (x64 and arm64) and macOS. The index is whatever uv is set up with; no address of it is written down.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv/bin/uv)

lock() { # lock NAME EXTRA: requirements/NAME.txt from one extra
    "$uv" pip compile pyproject.toml --extra "$2" --output-file "requirements/$1.txt" \
        --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "requirements/lock.sh" --quiet "${upgrade[@]}"
    echo "requirements/$1.txt: $(grep -c '==' "requirements/$1.txt") packages"
}

upgrade=("$@") # for example --upgrade, or --upgrade-package NAME
lock local dev # all to run, test and check on one machine
lock backend backend
lock training training,forest
lock loggers loggers
lock inject inject
lock broker broker
