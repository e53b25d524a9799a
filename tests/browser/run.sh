#!/usr/bin/env bash
# The console in Chromium against the real binary and the simulator. BROWSER_SIZE=all runs every test at 390 px and at
# 1280 px (else at 1280 px only); BROWSER_SHOTS is a folder for pictures of every page; arguments choose test files.
set -euo pipefail
cd "$(dirname "$0")/../.."

repository=$PWD
target=${CARGO_TARGET_DIR:-target}
tools=$target/tmp/browser
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
if [ ! -x "$CHROMIUM" ]; then
    echo "no Chromium at $CHROMIUM: apt-get install chromium, or name it in CHROMIUM" >&2
    exit 1
fi
cargo build --locked --quiet
USSD_STATUS=$(cd "$target/debug" && pwd)/ussd-status
export USSD_STATUS FIXTURES="$repository/tests/fixtures"

# What is installed lies beside the build, and the tests are run there.
cp tests/browser/* "$tools/"
cd "$tools"
wanted=$(sha256sum <package-lock.json)
if [ "$(cat installed 2>/dev/null)" != "$wanted" ]; then
    npm ci --ignore-scripts --no-audit --no-fund --loglevel error
    echo "$wanted" >installed
fi
if [ $# -eq 0 ]; then
    files=("$repository"/tests/browser/*.test.mjs)
    set -- "${files[@]##*/}"
fi
node --test --test-concurrency=1 --test-timeout=120000 "$@"
