#!/usr/bin/env bash
# Open Mainstem on a cluster to this machine until Ctrl-C: web UI, API and Kafka.
#   ./port_fwd.sh [--namespace NAME] [--address IP] [--ui PORT] [--api PORT] [--kafka PORT]
#
# Defaults: namespace kafkaml, address 127.0.0.1, ports 8080, 8000 and 31162. A port of 0 leaves that one out. When a
# pod is replaced its forward starts again by itself. Kafka tells its clients localhost:31162 (MAINSTEM_KAFKA_EXTERNAL),
# so another port than 31162 takes that setting too. KUBECONFIG says which cluster.
set -euo pipefail

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

namespace=kafkaml address=127.0.0.1 ui=8080 api=8000 kafka=31162
while [ $# -gt 0 ]; do
    case $1 in -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 0 ;; esac
    [ $# -ge 2 ] || die "$1 needs a value, or is unknown; see ./port_fwd.sh --help"
    case $1 in
        --namespace) namespace=$2 ;;
        --address) address=$2 ;;
        --ui | --api | --kafka)
            [[ $2 =~ ^[0-9]{1,5}$ ]] || die "$1 is $2; it must be a port number"
            declare "${1#--}=$2"
            ;;
        *) die "unknown option $1; see ./port_fwd.sh --help" ;;
    esac
    shift 2
done
command -v kubectl >/dev/null || die "kubectl is needed and was not found"
kubectl get namespace "$namespace" >/dev/null || die "the cluster that KUBECONFIG names has no namespace $namespace"

# forward SERVICE LOCAL REMOTE: until this script ends; a forward whose pod went away starts again
forward() {
    local child=''
    trap '[ -z "$child" ] || kill "$child" 2>/dev/null; exit 0' TERM INT
    while true; do
        kubectl --namespace "$namespace" port-forward --address "$address" "service/$1" "$2:$3" >/dev/null 2>&1 &
        child=$!
        wait "$child" || true
        child=''
        sleep 1 &
        wait $!
    done
}

children=()
clean_up() {
    trap '' INT TERM
    [ ${#children[@]} -eq 0 ] || kill "${children[@]}" 2>/dev/null || true
    wait
}
trap clean_up EXIT
trap 'exit 0' INT TERM

open() { # open SERVICE LOCAL REMOTE WHAT
    [ "$2" != 0 ] || return 0
    if (exec 3<>"/dev/tcp/$address/$2") 2>/dev/null; then
        die "port $2 is in use already: end what uses it, or choose another one (see ./port_fwd.sh --help)"
    fi
    kubectl --namespace "$namespace" get service "$1" >/dev/null 2>&1 || {
        printf '%s is not there: namespace %s has no service %s\n' "$4" "$namespace" "$1" >&2
        return 0
    }
    forward "$1" "$2" "$3" &
    children+=($!)
    printf '%-7s %s:%s\n' "$4" "$address" "$2"
}
open frontend "$ui" 8080 'web UI'
open backend "$api" 8000 API
open kafka-external "$kafka" 9094 Kafka
[ ${#children[@]} -gt 0 ] || die "nothing to open"
printf 'Ctrl-C closes them\n'
wait
