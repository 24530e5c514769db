// The sizes of attention that do not depend on the ISA. Layouts: cpu/generic/attention_kv.inl.h and
// attention_tile.inl.h. Thread: any.
#include "kernels/ops.h"

namespace millrace::kernels {

int64_t kv_head_bytes(KvDType dtype, int64_t head_dim) {
  switch (dtype) {
    case KvDType::kBF16:
      return (head_dim + 1) / 2 * 128 + head_dim * 64;
    case KvDType::kInt8:
      return (head_dim + 3) / 4 * 128 + 64 + (head_dim * 32 + 63) / 64 * 64 + 64;
  }
  return 0;
}

// One tile of at most 8 rows at a time, whatever n_rows: f32 scores, 16-bit weights, q words of at most 8 bytes.
int64_t attn_scratch_bytes(int64_t /*n_rows*/, int64_t head_dim) {
  int64_t bytes = 8 * (kSpanTokens * 6 + (head_dim + 3) / 4 * 8);
  return (bytes + 63) / 64 * 64;
}

}  // namespace millrace::kernels
