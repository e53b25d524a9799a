#!/usr/bin/env bash
# Asks the running service what schemathesis makes of openapi.yaml: no 5xx, nothing that is not described. It starts
# the service, stops it, and fails on any finding, on fewer than 1 000 cases, and if the service does not end well.
# SCHEMATHESIS_EXAMPLES is the number of generated requests an operation (60), SCHEMATHESIS_SEED makes others (1).
set -euo pipefail
source "$(dirname "$0")/service.sh"

version=4.32.5
tools="$target/tmp/schemathesis"
if [ "$("$tools/bin/st" --version 2>/dev/null)" != "Schemathesis $version" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

cp tests/schemathesis.toml "$folder/"
start_service
"$tools/bin/st" --config-file schemathesis.toml run "$description" --url "http://$address" -H "x-api-key: $key" \
    --max-examples "${SCHEMATHESIS_EXAMPLES:-60}" --seed "${SCHEMATHESIS_SEED:-1}" \
    --workers 1 --no-color --warnings off --continue-on-failure | tee report

cases=$(grep -oE '[0-9]+ generated' report | grep -oE '[0-9]+' || true)
[ "${cases:-0}" -ge 1000 ] || { echo "only ${cases:-no} cases"; exit 1; }
stop_service
