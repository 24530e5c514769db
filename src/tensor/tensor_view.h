// TensorView: where the bytes of one tensor of a model file lie and what they mean. Owns nothing; lives no longer
// than the file mapping behind it. KvLayerSpec: what the KV cache must keep for one layer. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/format_id.h"
#include "tensor/shape.h"

namespace millrace::tensor {

struct TensorView {
  Format format = Format::kF32;
  Shape shape;                    // row-major, [N, K] for a matrix
  const uint8_t* data = nullptr;  // rows() rows of row_bytes(format, cols()) bytes, any alignment
  size_t bytes = 0;

  int64_t rows() const { return shape.rows(); }
  int64_t cols() const { return shape.cols(); }
};

// First byte of row i; 0 <= row < view.rows().
const uint8_t* row_data(const TensorView& view, int64_t row);
// Row i as f32: out [cols]. The scalar reference decode.
void decode_row(float* out, const TensorView& view, int64_t row);

struct KvLayerSpec {
  uint32_t n_kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t window_tokens = 0;  // a query at p sees (p - window_tokens, p]; 0 = everything before it
  bool operator==(const KvLayerSpec&) const = default;
};

}  // namespace millrace::tensor
