#include "weights/model_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "base/file.h"
#include "base/macros.h"
#include "tensor/formats.h"
#include "weights/name_check.h"

namespace millrace::weights {
namespace {

constexpr size_t kNamesShown = 5;

// Where the weights of the model start in a checkpoint: plain, multimodal (old and new), encoder with a head, bare.
constexpr std::array<std::string_view, 5> kHfPrefixes = {"model.", "language_model.model.", "model.language_model.",
                                                         "bert.", ""};

std::string join_first(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < kNamesShown; ++i) out += (i > 0 ? ", " : "") + show_name(names[i]);
  if (names.size() > kNamesShown) out += fmt::format(" and {} more", names.size() - kNamesShown);
  return out;
}

// In the order of the file: GGUF lists the contiguous extent first.
std::string shape_text(const tensor::Shape& shape, FileKind kind) {
  tensor::Shape shown = shape;
  if (kind == FileKind::kGguf) std::reverse(shown.dims.begin(), shown.dims.begin() + shown.n_dims);
  return shown.text();
}

bool ends_with(std::string_view text, std::string_view tail) {
  return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
}

}  // namespace

Result<ModelFile> ModelFile::open(const std::string& path) {
  ModelFile out;
  if (is_directory(path)) {
    out.safetensors_ = std::make_unique<SafetensorsDir>(TRY(SafetensorsDir::open(path)));
    const SafetensorsDir& dir = *out.safetensors_;
    out.desc_ = TRY(model_desc_from_hf_config({.config = &dir.config(),
                                               .generation_config = dir.generation_config(),
                                               .tokenizer_config = dir.tokenizer_config(),
                                               .sentence_config = dir.sentence_config(),
                                               .pooling_config = dir.pooling_config(),
                                               .name = path + "/config.json"}));
    for (std::string_view prefix : kHfPrefixes) {
      out.hf_prefix_ = prefix;
      if (dir.has(out.name_of(WeightRole::kTokenEmbedding, 0))) break;
    }
  } else {
    for (std::string_view tail : {".bin", ".pt", ".pth", ".pkl", ".ckpt"}) {
      if (!ends_with(path, tail)) continue;
      return Error{ErrorCode::kBadFile, fmt::format("{}: pickle weights are refused; convert to safetensors", path),
                   path};
    }
    if (ends_with(path, ".safetensors")) {
      return Error{ErrorCode::kBadFile, fmt::format("{}: give the folder that holds it and its config.json", path),
                   path};
    }
    out.gguf_ = std::make_unique<GgufFile>(TRY(GgufFile::open(path)));
    out.desc_ = TRY(model_desc_from_gguf(*out.gguf_));
  }
  TRY(out.bind());
  if (!out.unused_.empty()) {
    LOG(LogLevel::kWarning, "{}: {} tensors are not used: {}", path, out.unused_.size(), join_first(out.unused_));
  }
  return out;
}

Result<ModelFile> ModelFile::from_gguf(GgufFile file) {
  ModelFile out;
  out.gguf_ = std::make_unique<GgufFile>(std::move(file));
  out.desc_ = TRY(model_desc_from_gguf(*out.gguf_));
  TRY(out.bind());
  return out;
}

const TensorSource& ModelFile::source() const {
  if (gguf_ != nullptr) return *gguf_;
  return *safetensors_;
}

std::string ModelFile::name_of(WeightRole role, uint32_t layer) const {
  bool tied_output = role == WeightRole::kOutput && desc_.tied_embeddings;
  return weight_name(desc_, tied_output ? WeightRole::kTokenEmbedding : role, layer, hf_prefix_);
}

// Every weight is there and has the shape its hyperparameters say; vectors are in a float format.
Result<void> ModelFile::bind() {
  const std::string& file = gguf_ != nullptr ? gguf_->name() : safetensors_->folder();
  auto bad = [&file](std::string what) { return Error{ErrorCode::kBadFile, fmt::format("{}: {}", file, what), file}; };
  std::vector<std::string> missing;
  std::unordered_set<std::string> used;
  for (const WeightRow& row : weight_rows()) {
    if (weight_presence(desc_, row.role) == WeightPresence::kAbsent) continue;
    tensor::Shape wanted = weight_shape(desc_, row.role);
    uint32_t n = row.per_layer ? desc_.n_layers : 1;
    for (uint32_t layer = 0; layer < n; ++layer) {
      std::string name = name_of(row.role, layer);
      if (!source().has(name)) {
        missing.push_back(std::move(name));
        continue;
      }
      tensor::TensorView view = TRY(source().tensor(name));
      if (!(view.shape == wanted)) {
        return bad(fmt::format("tensor \"{}\" is {}, expected {}", name, shape_text(view.shape, desc_.file_kind),
                               shape_text(wanted, desc_.file_kind)));
      }
      if (wanted.n_dims == 1 && tensor::format_info(view.format).group_values != 1) {
        return bad(
            fmt::format("tensor \"{}\" is {}, expected F32, F16 or BF16", name, tensor::format_info(view.format).name));
      }
      used.insert(std::move(name));
    }
  }
  if (!missing.empty()) return bad(fmt::format("{} tensors are missing: {}", missing.size(), join_first(missing)));
  for (std::string_view name : source().names()) {
    bool tied_copy = desc_.tied_embeddings && name == weight_row(WeightRole::kOutput).hf;
    // of an encoder that is used without a head
    bool pooler =
        desc_.is_encoder() && (name == name_of(WeightRole::kPooler, 0) || name == name_of(WeightRole::kPoolerBias, 0));
    if (!tied_copy && !pooler && used.count(std::string(name)) == 0) unused_.emplace_back(name);
  }
  return {};
}

bool ModelFile::has(WeightRole role, uint32_t layer) const {
  bool tied_output = role == WeightRole::kOutput && desc_.tied_embeddings;
  if (!tied_output && weight_presence(desc_, role) == WeightPresence::kAbsent) return false;
  return source().has(name_of(role, layer));
}

Result<tensor::TensorView> ModelFile::weight(WeightRole role, uint32_t layer) const {
  CHECK(!weight_row(role).per_layer || layer < desc_.n_layers, "layer {} of {}", layer, desc_.n_layers);
  return source().tensor(name_of(role, layer));
}

void ModelFile::release(WeightRole role, uint32_t layer) const { source().release(name_of(role, layer)); }

}  // namespace millrace::weights
