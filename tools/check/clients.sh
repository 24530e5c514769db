#!/usr/bin/env bash
# Foreign benchmark clients, unmodified, and the web page in Chromium, against a running server: ./check --clients.
# Each must run to its end.
# Needs the network once for the packages; nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
python3 tools/setup/fetch_models.py
[ -x .venv/clients/bin/llama-benchy ] || { python3 -m venv .venv/clients && .venv/clients/bin/pip install -q llama-benchy==0.4.0; }
build/release/millrace convert "$model" build/check/tokenizer --tokenizer-only
HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 python3 tools/check/with_server.py build/release/millrace "$model" --served-model-name smollm2 -- \
  python3 tools/check/run_benchy.py .venv/clients/bin/llama-benchy build/check/tokenizer

[ -x .venv/page/bin/python ] || { python3 -m venv .venv/page && .venv/page/bin/pip install -q selenium==4.51.0; }
python3 tools/check/with_server.py build/release/millrace "$model" --served-model-name smollm2 --api-key page-key -- \
  .venv/page/bin/python tests/web/page_test.py
[ -x .venv/dialects/bin/python ] || { python3 -m venv .venv/dialects && .venv/dialects/bin/pip install -q anthropic==2.12.0 ollama==0.6.3; }
for client in anthropic ollama; do
  python3 tools/check/with_server.py build/release/millrace "$model" --served-model-name smollm2 -- \
    .venv/dialects/bin/python "tests/http/${client}_client.py"
done
python3 tools/check/with_server.py build/release/millrace "$model" --served-model-name smollm2 --max-model-len 512 -- \
  tools/check/schemathesis.sh
python3 tools/setup/fetch_models.py all-minilm-l6-v2
python3 tools/check/with_server.py build/release/millrace models/all-minilm-l6-v2 --served-model-name minilm -- \
  python3 tests/http/embedding_client.py
tools/check/llama_suite.sh
