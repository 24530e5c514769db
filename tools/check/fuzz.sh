#!/usr/bin/env bash
# Every fuzz target for SECONDS each, from its seeds: ./check --fuzz [SECONDS]. A finding ends the run: its input stays
# under build/fuzz/found. What the targets learn stays under build/fuzz/corpus for the next run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/setup/lib.sh
seconds=${1:-60}

need_packages build check
build fuzz fuzz_seeds fuzz_gguf fuzz_safetensors fuzz_tokenizer_json fuzz_jinja fuzz_api_body fuzz_http
out=build/fuzz
mkdir -p "$out/found" "$out/seeds/jinja" "$out/seeds/tokenizer_json"
"$out/fuzz_seeds" "$out/seeds"
cp tests/golden/data/templates/*.jinja "$out/seeds/jinja"
cp tests/golden/data/tokenizers/*.json "$out/seeds/tokenizer_json"
rm -f "$out"/seeds/tokenizer_json/*.ref.json
for target in gguf safetensors tokenizer_json jinja api_body http; do
  mkdir -p "$out/corpus/$target"
  say "fuzz $target"
  code=0
  UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 "$out/fuzz_$target" -max_total_time="$seconds" -timeout=120 \
    -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 -artifact_prefix="$out/found/$target-" \
    "$out/corpus/$target" "$out/seeds/$target" >"$out/$target.log" 2>&1 || code=$?
  grep -E '^stat::(number_of|peak)' "$out/$target.log" || true
  [ $code -eq 0 ] || { tail -40 "$out/$target.log"; echo "fuzz: $target failed; its input is under $out/found" >&2; exit 1; }
done
