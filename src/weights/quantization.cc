// Quantisation at load: which matrices of a file take the format asked for. The quants themselves are made by the
// encoders of tensor/formats.h when the matrix is packed. Thread: any; quantize() before the file is shared.
#include "weights/quantization.h"

#include <fmt/core.h>

#include "tensor/formats.h"
#include "weights/model_file.h"

namespace millrace::weights {
namespace {

using tensor::Format;

bool is_float(Format format) { return tensor::format_info(format).group_values == 1; }

bool divides(Format format, const tensor::TensorView& view) {
  return view.cols() % tensor::format_info(format).group_values == 0;
}

}  // namespace

Format ModelFile::format_in_memory(WeightRole role, const tensor::TensorView& view) const {
  // stays in the file, or is as small as a head
  bool read_by_row = (role == WeightRole::kTokenEmbedding && !desc_.tied_embeddings) || is_lookup_table(role) ||
                     role == WeightRole::kPooler || role == WeightRole::kClassifier;
  if (!quantization_ || read_by_row || view.shape.n_dims == 1 || !is_float(view.format)) return view.format;
  bool output = role == WeightRole::kOutput || role == WeightRole::kTokenEmbedding;
  if (!output && divides(*quantization_, view)) return *quantization_;
  return divides(Format::kQ8_0, view) ? Format::kQ8_0 : view.format;
}

Result<void> ModelFile::quantize(Format format) {
  quantization_ = format;
  std::string_view found;
  for (const WeightRow& row : weight_rows()) {
    if (weight_presence(desc_, row.role) == WeightPresence::kAbsent) continue;
    uint32_t n = row.per_layer ? desc_.n_layers : 1;
    for (uint32_t layer = 0; layer < n; ++layer) {
      Result<tensor::TensorView> view = weight(row.role, layer);
      if (!view.ok() || view->shape.n_dims == 1) continue;
      if (format_in_memory(row.role, *view) != view->format) return {};
      if (row.per_layer) found = tensor::format_info(view->format).name;
    }
  }
  quantization_.reset();
  const std::string& file = gguf_ != nullptr ? gguf_->name() : safetensors_->folder();
  return Error{ErrorCode::kUsage,
               fmt::format("--quantization {}: want weights in F32, F16 or BF16, those of {} are {} already",
                           tensor::format_info(format).name, file, found),
               "--quantization"};
}

}  // namespace millrace::weights
