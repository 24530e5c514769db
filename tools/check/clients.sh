#!/usr/bin/env bash
# Foreign clients and suites, unmodified, and the web page in Chromium, against a running server: ./check --clients.
# clients.sh [NAME...]: only those. Each package has a venv of its own under .venv, installed once from the network;
# guidellm brings torch, some gigabytes. Ends with a table of what passed. docs/howto/clients.md says which check covers what.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
millrace=build/release/millrace
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
failed=""

# venv NAME PACKAGE...
venv() {
  local python=.venv/$1/bin/python
  [ -x "$python" ] || { python3 -m venv ".venv/$1" && "$python" -m pip install -q "${@:2}" || { rm -rf ".venv/$1"; return 1; }; }
}
# served FLAG... -- COMMAND...: with the URL of a server of the default model as the last argument.
served() { python3 tools/check/with_server.py "$millrace" "$model" --served-model-name smollm2 "$@"; }
python_of() { echo ".venv/$1/bin/python"; }

run_openai() { venv openai openai==3.54.0 && served -- "$(python_of openai)" tests/http/openai_structured_client.py; }
run_instructor() { venv instructor instructor==1.17.0 && served -- "$(python_of instructor)" tests/http/instructor_client.py; }
run_langchain() {
  venv langchain langchain==1.4.7 langchain-openai==1.7.3 && served -- "$(python_of langchain)" tests/http/langchain_client.py
}
run_litellm() { venv litellm litellm==1.106.2 mcp==2.3.0 && served -- "$(python_of litellm)" tests/http/litellm_client.py; }
run_anthropic() { venv anthropic anthropic==2.12.0 && served -- "$(python_of anthropic)" tests/http/anthropic_client.py; }
run_ollama() { venv ollama ollama==0.6.3 && served -- "$(python_of ollama)" tests/http/ollama_client.py; }
run_triton() { venv triton 'tritonclient[http]==2.73.0' && served -- "$(python_of triton)" tests/http/triton_client.py; }
run_lm_eval() { venv lm_eval 'lm-eval[api]==0.4.13' && served -- "$(python_of lm_eval)" tests/http/lm_eval_client.py; }
tokenizer() { [ -d build/check/tokenizer ] || "$millrace" convert "$model" build/check/tokenizer --tokenizer-only; }
# Offline aiperf takes a tokenizer for the name of a repository, never for a folder.
run_aiperf() (
  unset HF_HUB_OFFLINE TRANSFORMERS_OFFLINE
  venv aiperf aiperf==0.13.0 && tokenizer && served -- "$(python_of aiperf)" tests/http/aiperf_client.py build/check/tokenizer
)
run_guidellm() {
  venv guidellm guidellm==0.8.1 && tokenizer && served -- "$(python_of guidellm)" tests/http/guidellm_client.py build/check/tokenizer
}
run_benchy() {
  venv benchy llama-benchy==0.4.0 && tokenizer &&
    served -- python3 tools/check/run_benchy.py .venv/benchy/bin/llama-benchy build/check/tokenizer
}
run_page() { venv page selenium==4.51.0 && served --api-key page-key -- "$(python_of page)" tests/web/page_test.py; }
run_schemathesis() { served --max-model-len 512 -- tools/check/schemathesis.sh; }
run_embedding() {
  python3 tools/setup/fetch_models.py all-minilm-l6-v2 &&
    python3 tools/check/with_server.py "$millrace" models/all-minilm-l6-v2 --served-model-name minilm -- \
      python3 tests/http/embedding_client.py &&
    python3 tests/http/models_test.py "$millrace" models models/all-minilm-l6-v2
}
# Away from the source tree, of which nothing may be found by chance.
run_wheel() {
  local root=$PWD
  tools/check/wheel.sh .venv/wheel && (cd / && env -u PYTHONPATH "$root/.venv/wheel/bin/python" "$root/tests/python/wheel_test.py" "$root/$model")
}
run_llama_suite() { tools/check/llama_suite.sh; }

all=(openai instructor langchain litellm anthropic ollama triton lm_eval aiperf guidellm benchy page schemathesis embedding wheel llama_suite)
mkdir -p build/check/clients
python3 tools/setup/fetch_models.py
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1

# sum_of WORD LOG: over the lines "N passed, N failed" of a log; "-" when there is none.
sum_of() { sed -nE 's/^([0-9]+) passed, ([0-9]+) failed.*/passed \1 failed \2/p' "$2" | awk -v w="$1" '{ for (i = 1; i < NF; i++) if ($i == w) n += $(i + 1) } END { print NR ? n : "-" }'; }

table=$(printf '%-14s %7s %7s %8s' client passed failed seconds)
for name in "${@:-${all[@]}}"; do
  echo "== $name"
  log=build/check/clients/$name.log code=0 began=$SECONDS
  "run_$name" 2>&1 | tee "$log" || code=$?
  [ $code -eq 0 ] || failed+=" $name"
  table+=$'\n'$(printf '%-14s %7s %7s %8s %s' "$name" "$(sum_of passed "$log")" "$(sum_of failed "$log")" $((SECONDS - began)) "$([ $code -eq 0 ] || echo FAILED)")
done
printf '\n%s\n' "$table"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
