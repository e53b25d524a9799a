#!/usr/bin/env bash
# Holds openapi.yaml to the rules that Spectral and Redocly recommend, generates a client from it in TypeScript and in
# Python, checks the types of both, and lets them ask the running service. `tests/openapi.sh lint` looks at the document
# only. What is installed, in which version, is in tests/openapi/package.json and requirements.txt.
set -euo pipefail
source "$(dirname "$0")/service.sh"

own=$repository/tests/openapi
tools="$target/tmp/openapi"
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
export PATH="$tools/python/bin:$tools/node_modules/.bin:$PATH"

install_tools() {
    local wanted
    wanted=$(cat "$own/package.json" "$own/requirements.txt")
    [ "$(cat "$tools/installed" 2>/dev/null)" != "$wanted" ] || return 0
    rm -rf "$tools"
    mkdir -p "$tools"
    cp "$own/package.json" "$tools/"
    python3 -m venv "$tools/python"
    pip install --quiet --disable-pip-version-check --requirement "$own/requirements.txt"
    npm install --prefix "$tools" --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel error
    echo "$wanted" >"$tools/installed"
}

lint() {
    echo "Spectral"
    spectral lint --ruleset "$own/spectral.yaml" --fail-severity hint "$description"
    echo "Redocly"
    redocly lint --config "$own/redocly.yaml" --format stylish "$description" 2>&1 | tee "$folder/redocly"
    # Redocly lets warnings pass, and an exemption that nothing needs any more.
    ! grep -q 'You have [0-9]* warning' "$folder/redocly" || exit 1
    grep -q "^$(grep -c "^    - '#/" "$own/.redocly.lint-ignore.yaml") problems are explicitly ignored" "$folder/redocly" ||
        { echo "tests/openapi/.redocly.lint-ignore.yaml exempts what needs no exemption"; exit 1; }
}

generate() {
    cp -r "$own/." "$folder/"
    ln -s "$tools/node_modules" "$folder/node_modules"
    cd "$folder"
    openapi-typescript "$description" --redocly redocly.yaml --output ussd-status.d.ts >generated 2>&1 || { cat generated; exit 1; }
    openapi-python-client generate --path "$description" --config python-client.yaml --meta none --fail-on-warning \
        --output-path ussd_status_client
    echo "types"
    tsc --project tsconfig.json
    mypy --config-file mypy.ini ussd_status_client smoke.py
}

install_tools
lint
generate
[ "${1:-}" != lint ] || exit 0

start_service
export USSD_STATUS_URL="http://$address" USSD_STATUS_KEY="$key"
node built/smoke.js
python smoke.py
stop_service
