// What attention means: softmax over the tokens a row sees, in f64, one row at a time, over plain K and V rows; and
// what a KV block holds, value by value. Independent of the block kernels and of their spans. Thread: any.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace millrace::kernels::ref {

struct AttentionRow {
  const float* q = nullptr;   // [head_dim], not scaled
  const double* k = nullptr;  // [n_tokens, head_dim]
  const double* v = nullptr;  // [n_tokens, head_dim]
  int64_t head_dim = 0;
  int64_t pos = 0;  // sees tokens j <= pos and, with a window w > 0, j > pos - w
  int64_t window = 0;
  double scale = 1;
  double softcap = 0;  // 0 = none
};

// out [head_dim]
void attention(double* out, const AttentionRow& row);

// Values of token 0..31 in the (layer, KV head) piece of a block, as the attention kernels take them.
double kv_k(KvDType dtype, const uint8_t* head, int64_t head_dim, int64_t token, int64_t d);
double kv_v(KvDType dtype, const uint8_t* head, int64_t head_dim, int64_t token, int64_t d);

}  // namespace millrace::kernels::ref
