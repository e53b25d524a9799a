#!/usr/bin/env bash
# The console in Chromium against the real binary and the simulator. BROWSER_SIZE=all runs every test at 390 px and at
# 1280 px (else at 1280 px only); BROWSER_SHOTS is a folder for pictures of every page; arguments choose test files.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/tmp/browser"
target=$(cd "$target" && pwd)
cargo build --locked --quiet
export USSD_STATUS="$target/debug/ussd-status"
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
[ -x "$CHROMIUM" ] || { echo "Chromium is wanted at $CHROMIUM (apt-get install chromium), or name it in CHROMIUM" >&2; exit 1; }

# The tests' libraries lie beside the build, not in the tree.
tests="$target/tmp/browser"
cp tests/browser/package.json tests/browser/package-lock.json "$tests/"
if [ "$(cat "$tests/installed" 2>/dev/null)" != "$(sha256sum <"$tests/package-lock.json")" ]; then
    npm ci --prefix "$tests" --no-audit --no-fund --loglevel=error
    sha256sum <"$tests/package-lock.json" >"$tests/installed"
fi
rm -rf tests/browser/node_modules
ln -s "$tests/node_modules" tests/browser/node_modules
trap 'rm -f tests/browser/node_modules' EXIT

cd tests/browser
if [ $# -eq 0 ]; then set -- *.test.mjs; fi
node --test --test-concurrency=1 --test-timeout=120000 "$@"
