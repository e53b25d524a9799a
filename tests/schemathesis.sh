#!/usr/bin/env bash
# Asks the running service what schemathesis makes of openapi.yaml: no 5xx, nothing that is not described. It starts
# the service, stops it, and fails on any finding, on fewer than 1 000 cases, and if the service does not end well.
# SCHEMATHESIS_EXAMPLES is the number of generated requests an operation (60), SCHEMATHESIS_SEED makes others (1).
set -euo pipefail
cd "$(dirname "$0")/.."

version=4.32.5
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/tmp"
target=$(cd "$target" && pwd)
tools="$target/tmp/schemathesis"
cargo build --locked --quiet
if [ "$("$tools/bin/st" --version 2>/dev/null)" != "Schemathesis $version" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

folder=$(mktemp -d)
pid=
finish() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

program="$target/debug/ussd-status"
description=$PWD/openapi.yaml
cp tests/schemathesis.toml "$folder/"
cd "$folder"
export DATABASE_URL="sqlite://$folder/test.db" LOG_FORMAT=json RUST_LOG=info
export RATE_LIMIT_GET=1000000 RATE_LIMIT_POST=1000000 RATE_LIMIT_WRITE=1000000 CALLBACK_ALLOWED_IPS=127.0.0.1
MASTER_KEY=$(head -c 32 /dev/urandom | base64)
export MASTER_KEY
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

partner=$("$program" partner create --name Kilimo --json)
key=$(field api_key <<<"$partner")
credentials='{"environment":"sandbox","shortcode":"600966","consumer_key":"ck","consumer_secret":"cs"}'
account=$("$program" account create --partner "$(field id <<<"$partner")" --provider mpesa --credentials - --json <<<"$credentials")
token=$(field callback_token <<<"$account")
export CALLBACK_TOKEN="$token"

touch log
"$program" serve --listen 127.0.0.1:0 2>log &
pid=$!
address=
for _ in $(seq 100); do
    address=$(sed -n 's/.*"address":"\([^"]*\)".*"message":"listening".*/\1/p; s/.*"message":"listening".*"address":"\([^"]*\)".*/\1/p' log | head -1)
    [ -z "$address" ] || break
    sleep 0.1
done
[ -n "$address" ] || { cat log; exit 1; }

"$tools/bin/st" --config-file schemathesis.toml run "$description" --url "http://$address" -H "x-api-key: $key" \
    --max-examples "${SCHEMATHESIS_EXAMPLES:-60}" --seed "${SCHEMATHESIS_SEED:-1}" \
    --workers 1 --no-color --warnings off --continue-on-failure | tee report

cases=$(grep -oE '[0-9]+ generated' report | grep -oE '[0-9]+' || true)
[ "${cases:-0}" -ge 1000 ] || { echo "only ${cases:-no} cases"; exit 1; }
kill "$pid"
wait "$pid" || { tail -5 log; echo "the service ended badly"; exit 1; }
pid=
