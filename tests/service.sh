# Sourced by the scripts that ask the running service: it builds the service, starts it on a free port with a database,
# a partner and an account of its own, and ends it. They find it at $address, with the API key $key and the callback
# token $CALLBACK_TOKEN; $folder is theirs too, and goes when they end.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

repository=$PWD
description=$repository/openapi.yaml
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/tmp"
target=$(cd "$target" && pwd)
program="$target/debug/ussd-status"

folder=$(mktemp -d)
pid=
finish() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

start_service() {
    (cd "$repository" && cargo build --locked --quiet)
    cd "$folder"
    export DATABASE_URL="sqlite://$folder/test.db" LOG_FORMAT=json RUST_LOG=info
    export RATE_LIMIT_GET=1000000 RATE_LIMIT_POST=1000000 RATE_LIMIT_WRITE=1000000 CALLBACK_ALLOWED_IPS=127.0.0.1
    MASTER_KEY=$(head -c 32 /dev/urandom | base64)
    export MASTER_KEY

    local partner account credentials
    partner=$("$program" partner create --name Kilimo --json)
    key=$(field api_key <<<"$partner")
    credentials='{"environment":"sandbox","shortcode":"600966","consumer_key":"ck","consumer_secret":"cs"}'
    account=$("$program" account create --partner "$(field id <<<"$partner")" --provider mpesa --credentials - --json <<<"$credentials")
    CALLBACK_TOKEN=$(field callback_token <<<"$account")
    export CALLBACK_TOKEN

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
}

stop_service() {
    kill "$pid"
    wait "$pid" || { tail -5 log; echo "the service ended badly"; exit 1; }
    pid=
}
