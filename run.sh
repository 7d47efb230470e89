#!/usr/bin/env bash
# Start everything on this machine: environment, Kafka, web UI and API, loggers, aggregator, launcher.
#   ./run.sh                  until Ctrl-C; starting again finds everything as it was
#   ./run.sh --demo           also trains three clients over five rounds and leaves the UI up
#   ./run.sh --demo --once    ends after it; the last line is one JSON object
#   ./run.sh --help           all options
set -euo pipefail
cd "$(dirname "$0")"
. requirements/environment.sh
make_environment
exec "$venv/bin/mainstem" up "$@"
