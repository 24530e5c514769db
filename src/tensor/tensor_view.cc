#include "tensor/tensor_view.h"

#include "base/macros.h"
#include "tensor/formats.h"

namespace millrace::tensor {

const uint8_t* row_data(const TensorView& view, int64_t row) {
  CHECK(row >= 0 && row < view.rows(), "row {} of {}", row, view.rows());
  return view.data + row * row_bytes(view.format, view.cols());
}

void decode_row(float* out, const TensorView& view, int64_t row) {
  const FormatInfo& info = format_info(view.format);
  info.decode(out, row_data(view, row), view.cols() / info.group_values);
}

}  // namespace millrace::tensor
