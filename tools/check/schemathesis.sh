#!/usr/bin/env bash
# Generated requests of every operation of /openapi.json, valid and not: schemathesis.sh URL. Part of ./check --clients.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ -x .venv/schemathesis/bin/schemathesis ] || {
  python3 -m venv .venv/schemathesis
  .venv/schemathesis/bin/pip install -q schemathesis==4.32.5
}
root=$PWD
log=$root/build/check/schemathesis.log
code=0
cd build/check  # it leaves files where it runs
"$root/.venv/schemathesis/bin/schemathesis" --config-file "$root/tools/check/schemathesis.toml" run "$1/openapi.json" >"$log" 2>&1 || code=$?
grep -E '^ *(Selected|Tested):|generated|passed|failures' "$log" || tail -30 "$log"
sed -nE 's/^ *([0-9]+) generated, ([0-9]+) passed.*/\1 \2/p' "$log" | awk '{ print $2 " passed, " $1 - $2 " failed" }'
[ $code -eq 0 ] || tail -200 "$log"
exit $code
