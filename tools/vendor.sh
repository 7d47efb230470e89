#!/bin/sh
# Fetches what the web UI (and the accessibility test) takes from npm packages, checks it, and puts it where it is served from.
# Usage: tools/vendor.sh        needs npm; the result is committed, so that nobody else needs it.
set -eu
cd "$(dirname "$0")/.."

ui=backend/site/static/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

take() { # package, version, sha256 of its archive, destination, files...
    archive="$work/$(npm pack --silent --pack-destination "$work" "$1@$2")"
    echo "$3  $archive" | sha256sum --check --quiet
    mkdir -p "$work/$1" "$4"
    tar -xzf "$archive" -C "$work/$1" --strip-components=1
    destination=$4
    package=$1
    shift 4
    for file in "$@"; do cp "$work/$package/$file" "$destination/"; done
    echo "$package: $destination"
}

take htmx.org 2.0.11 165a2655073e9e6e55e307a7c74e8ebcdb76afb7701f9c16cfd106a13add408e "$ui/htmx" dist/htmx.min.js LICENSE
take uplot 1.6.32 4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d "$ui/uplot" \
    dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE
take axe-core 4.14.1 e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745 tests/browser/vendor/axe-core \
    axe.min.js LICENSE LICENSE-3RD-PARTY.txt
