// gemma3 (text): norms before and behind each block, q/k norm, tanh GELU, five windowed layers to each full one with a
// rotation base of their own, embeddings scaled by sqrt(d_model).
// Source: transformers models/gemma3/modeling_gemma3.py.
// Thread: the loader.
#include "models/architectures.h"
#include "models/decoder.h"

namespace millrace::models {

Result<std::unique_ptr<Model>> load_gemma3(const weights::ModelFile& file, const LoadOptions& options) {
  return load_decoder(file, options, DecoderBlocks{.qk_norm = true, .post_norms = true});
}

}  // namespace millrace::models
