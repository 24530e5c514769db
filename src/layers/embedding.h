// Embedding: token ids to rows of the residual stream. A tied embedding is read back from the packed output matrix; an
// untied one stays in the file's bytes (one row per token is read).
// Invariant: the mapping behind an untied embedding outlives the model (Model keeps its ModelFile).
// Thread: any, each for its own rows.
#pragma once

#include <cstdint>

#include "base/ids.h"
#include "layers/packed_matrix.h"
#include "tensor/tensor_view.h"

namespace millrace::layers {

struct Embedding {
  const PackedMatrix* packed = nullptr;  // of a tied model
  tensor::TensorView file;               // otherwise
  float scale = 1.0f;
  int64_t d_model = 0;

  // out [d_model] f32
  void row(const kernels::KernelTable& table, TokenId token, float* out) const {
    if (packed != nullptr) {
      packed->unpack_row(table, token, out);
    } else {
      tensor::decode_row(out, file, token);
    }
    if (scale != 1.0f) table.scale(out, scale, d_model);
  }
};

}  // namespace millrace::layers
