#!/usr/bin/env bash
# Recompute the published digests (tests/vectors/machines.json) on 64-bit ARM, emulated by qemu's user mode:
# tools/another_machine.sh. It needs the apt-get and dpkg-deb of Debian or Ubuntu, and .venv; no root, and nothing is
# installed: packages of this machine's release are unpacked in Mainstem's cache. NumPy and msgspec are those that
# requirements/local.txt locks. The exit code is 1 where a digest is not the published one.
set -euo pipefail
cd "$(dirname "$0")/.."
place=${MAINSTEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mainstem}/machines
root=$place/root site=$place/site qemu=$place/usr/bin/qemu-aarch64-static
mkdir -p "$place"/{lists/partial,cache/archives/partial} "$root" "$site"
: >"$place/status"

apt() { # apt ARCHITECTURE ARGUMENT...: apt-get with a state of its own
    cat >"$place/apt.conf" <<END
APT::Architecture "$1"; APT::Architectures { "$1"; }; APT::Install-Recommends "false"; APT::Sandbox::User "$(id -un)";
Dir::State "$place"; Dir::State::status "$place/status"; Dir::State::lists "$place/lists"; Dir::Cache "$place/cache";
END
    (cd "$place" && APT_CONFIG=$place/apt.conf apt-get -qq "${@:2}")
}

if [ ! -x "$qemu" ]; then
    apt "$(dpkg --print-architecture)" update
    apt "$(dpkg --print-architecture)" download qemu-user-static
    dpkg-deb --fsys-tarfile "$place"/qemu-user-static_*.deb | tar -x -C "$place" ./usr/bin/qemu-aarch64-static
fi
if ! compgen -G "$root/usr/bin/python3.*" >/dev/null; then
    apt arm64 update
    apt arm64 install -y --download-only python3-minimal libpython3-stdlib libstdc++6
    for package in "$place"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    [ -e "$root/lib" ] || ln -s usr/lib "$root/lib" # which newer releases keep in another package
fi
python=$(compgen -G "$root/usr/bin/python3.*" | head -n 1)
if [ ! -d "$site/numpy" ]; then
    awk '/^(numpy|msgspec|prometheus-client)==/ { on = 1 } on { print } !/\\$/ { on = 0 }' requirements/local.txt \
        >"$place/wanted.txt"
    .venv/bin/python -m pip install --quiet --require-hashes --no-deps --only-binary :all: --target "$site" \
        --implementation cp --python-version "${python##*python}" \
        --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
        --requirement "$place/wanted.txt"
fi
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$site exec "$qemu" -L "$root" "$python" -m tests.vectors.machines
