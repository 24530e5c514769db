// kModels: one row per architecture. To add one: docs/howto/add_model.md.
#include <array>

#include "models/architectures.h"
#include "models/model.h"

namespace millrace::models {
namespace {

constexpr std::array<ModelRow, 5> kModels = {{
    {weights::Architecture::kLlama, load_llama},
    {weights::Architecture::kQwen2, load_qwen2},
    {weights::Architecture::kQwen3, load_qwen3},
    {weights::Architecture::kGemma3, load_gemma3},
    {weights::Architecture::kBert, load_bert},
}};

}  // namespace

std::span<const ModelRow> model_table() { return kModels; }

Result<std::unique_ptr<Model>> load_model(const weights::ModelFile& file, const LoadOptions& options) {
  for (const ModelRow& row : kModels) {
    if (row.architecture == file.desc().architecture) return row.load(file, options);
  }
  std::string_view name = weights::architecture_name(file.desc().architecture);
  return Error{ErrorCode::kBadFile, fmt::format("architecture {} has no implementation", name), {}};
}

std::vector<tensor::KvLayerSpec> Model::kv_layers() const {
  std::vector<tensor::KvLayerSpec> specs;
  for (uint32_t layer = 0; layer < desc().n_layers; ++layer) specs.push_back(desc().kv_layer(layer));
  return specs;
}

}  // namespace millrace::models
