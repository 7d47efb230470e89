#!/bin/sh
# packages.sh REQUIREMENTS: a Python environment in /opt/mainstem with exactly the locked packages, each file checked
# against its hash, and without what a running system has no use for.
set -eu
python3 -m venv --without-pip /opt/mainstem
python3 -m pip --python /opt/mainstem/bin/python install --disable-pip-version-check --no-cache-dir --quiet \
    --require-hashes --no-deps --only-binary :all: --no-compile --requirement "$1"
packages=$(/opt/mainstem/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cd "$packages"
find . -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.a' \) -delete
rm -rf tensorflow/include tensorflow/xla_aot_runtime_src clang tensorflow/lite/examples \
    drf_spectacular_sidecar/static/drf_spectacular_sidecar/redoc \
    django/conf/locale/[!_e]* django/contrib/*/locale/[!e]* setuptools wheel pkg_resources _distutils_hack \
    setuptools-*.dist-info wheel-*.dist-info distutils-precedence.pth
# Compiled once here: the file system is read-only later. By content, since copying may change the times.
/opt/mainstem/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash . || true # templates of packages
echo /opt/mainstem/app >mainstem.pth
