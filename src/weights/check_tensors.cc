#include "weights/check_tensors.h"

#include <fmt/core.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/macros.h"
#include "tensor/formats.h"
#include "weights/name_check.h"

namespace millrace::weights {
namespace {

// The first group whose scales are not all finite.
std::optional<size_t> bad_group(const tensor::TensorView& view, const tensor::FormatInfo& info) {
  for (size_t i = 0; i < view.bytes / info.group_bytes; ++i) {
    tensor::GroupScales scales = tensor::group_scales(info.format, view.data + i * info.group_bytes);
    for (int s = 0; s < scales.n; ++s) {
      if (!std::isfinite(scales.scale[s])) return i;
    }
  }
  return std::nullopt;
}

std::optional<size_t> bad_value(const tensor::TensorView& view) {
  std::vector<float> row(static_cast<size_t>(view.cols()));
  for (int64_t r = 0; r < view.rows(); ++r) {
    tensor::decode_row(row.data(), view, r);
    for (size_t i = 0; i < row.size(); ++i) {
      if (!std::isfinite(row[i])) return static_cast<size_t>(r) * row.size() + i;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<void> check_tensors(const TensorSource& source, std::string_view file_name) {
  for (std::string_view name : source.names()) {
    tensor::TensorView view = TRY(source.tensor(name));
    const tensor::FormatInfo& info = tensor::format_info(view.format);
    const bool floats = info.group_values == 1;
    if (std::optional<size_t> at = floats ? bad_value(view) : bad_group(view, info)) {
      std::string what =
          floats ? fmt::format("value {} is not finite", *at) : fmt::format("block {} has non-finite scale", *at);
      return Error{ErrorCode::kBadFile, fmt::format("{}: tensor \"{}\" {}", file_name, show_name(name), what),
                   std::string(name)};
    }
    source.release(name);
  }
  return {};
}

}  // namespace millrace::weights
