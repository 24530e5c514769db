// qwen3: llama with an RMS norm on each head of q and k before rotation; heads may be wider than d_model / n_heads.
// Source: transformers models/qwen3/modeling_qwen3.py.
// Thread: the loader.
#include "models/architectures.h"
#include "models/decoder.h"

namespace millrace::models {

Result<std::unique_ptr<Model>> load_qwen3(const weights::ModelFile& file, const LoadOptions& options) {
  return load_decoder(file, options, DecoderBlocks{.qk_norm = true});
}

}  // namespace millrace::models
