// llama: pre-norm decoder, grouped-query attention, SiLU gated feed-forward. Also Mistral and SmolLM2 (their windows,
// rotation style and scalings come from the description of the file).
// Source: transformers models/llama/modeling_llama.py, models/mistral/modeling_mistral.py.
// Thread: the loader.
#include "models/architectures.h"
#include "models/decoder.h"

namespace millrace::models {

Result<std::unique_ptr<Model>> load_llama(const weights::ModelFile& file, const LoadOptions& options) {
  return load_decoder(file, options, DecoderBlocks{});
}

}  // namespace millrace::models
