// qwen2 (and Qwen2.5): llama with a bias on q, k and v.
// Source: transformers models/qwen2/modeling_qwen2.py.
// Thread: the loader.
#include "models/architectures.h"
#include "models/decoder.h"

namespace millrace::models {

Result<std::unique_ptr<Model>> load_qwen2(const weights::ModelFile& file, const LoadOptions& options) {
  return load_decoder(file, options, DecoderBlocks{.qkv_bias = true});
}

}  // namespace millrace::models
