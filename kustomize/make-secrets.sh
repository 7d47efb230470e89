#!/bin/sh
# make-secrets.sh [OVERLAY]: make what is missing of an overlay's secrets (default: local), readable by you alone.
set -eu
case ${1:-} in -h | --help) sed -n '2s/^# //p' "$0" && exit 0 ;; esac
overlay=${1:-local}
cd "$(dirname "$0")/$overlay"
umask 077
mkdir -p secrets
for name in secret-key admin-password token; do
    [ -s "secrets/$name" ] && continue
    case $name in admin-password) bytes=12 ;; *) bytes=36 ;; esac
    head -c "$bytes" /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"secrets/$name"
    echo "made kustomize/$overlay/secrets/$name" >&2
done
