#!/usr/bin/env bash
# Asks the running service what schemathesis makes of openapi.yaml: no 5xx, nothing that is not described. It starts
# the service, stops it, and fails on any finding, if an operation was left out without a reason, and if the service does not end well.
# SCHEMATHESIS_CASES is how many requests are made at least (3000), as many of each operation; SCHEMATHESIS_SEED makes
# others (1).
set -euo pipefail
source "$(dirname "$0")/service.sh"

version=4.32.5
least=${SCHEMATHESIS_CASES:-3000}
operations=$(sed '/^webhooks:/,$d' openapi.yaml | grep -c ' operationId: ')
# What the settings leave out, with their reasons.
operations=$((operations - $(grep -c '^enabled = false' tests/schemathesis.toml)))
tools="$target/tmp/schemathesis"
if [ "$("$tools/bin/st" --version 2>/dev/null)" != "Schemathesis $version" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

cp tests/schemathesis.toml "$folder/"
start_service
"$tools/bin/st" --config-file schemathesis.toml run "$description" --url "http://$address" -H "x-api-key: $key" \
    --max-examples "$(((least + operations - 1) / operations))" --seed "${SCHEMATHESIS_SEED:-1}" \
    --workers 1 --no-color --warnings off --continue-on-failure | tee report

grep -q "^  Tested: $operations\$" report || { echo "not all of the $operations operations were asked"; exit 1; }
cases=$(grep -oE '[0-9]+ generated' report | grep -oE '[0-9]+' || true)
[ "${cases:-0}" -ge "$least" ] || { echo "only ${cases:-no} cases"; exit 1; }
stop_service
