#!/bin/sh
# digits.sh REQUIREMENTS FOLDER: scikit-learn's handwritten digits, 60 KB of it, for "inject sample data"; checked with
# the locked package that they come in, which stays behind.
set -eu
awk '/^scikit-learn==/ { mine = 1 } mine { print } mine && !/\\$/ { exit }' "$1" >/build/scikit-learn.txt
python3 -m pip install --disable-pip-version-check --no-cache-dir --quiet --require-hashes --no-deps \
    --only-binary :all: --no-compile --target /build/scikit-learn --requirement /build/scikit-learn.txt
mkdir -p "$2"
cp /build/scikit-learn/sklearn/datasets/data/digits.csv.gz "$2/"
rm -rf /build/scikit-learn
