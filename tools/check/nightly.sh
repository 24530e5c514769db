#!/usr/bin/env bash
# What takes too long for every change: ./check --nightly [--short]. Storms of connections, overload, kill -9 under load
# (tests/chaos), and every fuzz target for two minutes. --short: the chaos tests at a fraction of their size, no fuzzing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/setup/lib.sh
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
python3 tools/setup/fetch_models.py
failed=0
for test in storm overload kill_restart kill_points io_faults; do
  say "== $test"
  python3 "tests/chaos/$test.py" build/release/millrace "$model" "$@" || failed=1
done
if [ $# -eq 0 ]; then
  say "== every allocation"
  MILLRACE_ALL_FAULTS=1 build/release/faults_suite --gtest_brief=1 || failed=1
  say "== mutated requests"
  python3 tools/check/with_server.py build/release/millrace "$model" --max-model-len 512 --served-model-name m -- \
    python3 tests/http/hostile_fuzz.py --in-time --requests 100000 || failed=1
  say "== hostile requests, in time"
  python3 tools/check/with_server.py build/release/millrace "$model" --max-model-len 512 --served-model-name m -- \
    python3 tests/http/hostile_requests.py --in-time || failed=1
  say "== fuzz"
  tools/check/fuzz.sh 120 || failed=1
fi
exit $failed
