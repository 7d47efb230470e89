#!/bin/sh
# Make what is missing of the local platform's secrets, for you alone; ./build.sh calls it. --help tells this.
set -eu
case ${1:-} in -h | --help) sed -n '2s/^# //p' "$0" && exit 0 ;; esac
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in secret-key admin-password token; do
    [ -s "secrets/$name" ] && continue
    case $name in admin-password) bytes=12 ;; *) bytes=36 ;; esac
    head -c "$bytes" /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"secrets/$name"
    echo "made kustomize/local/secrets/$name" >&2
done
