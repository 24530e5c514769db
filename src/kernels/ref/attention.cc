// See attention.h. Layout of blocks: section "KV blocks" of docs/contracts/arithmetic.md.
#include "kernels/ref/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/float16.h"

namespace millrace::kernels::ref {

void attention(double* out, const AttentionRow& row) {
  int64_t begin = row.window > 0 ? std::max<int64_t>(0, row.pos - row.window + 1) : 0;
  std::vector<double> score;
  double most = -std::numeric_limits<double>::infinity();
  for (int64_t j = begin; j <= row.pos; ++j) {
    double dot = 0;
    for (int64_t d = 0; d < row.head_dim; ++d) dot += static_cast<double>(row.q[d]) * row.k[j * row.head_dim + d];
    double s = dot * row.scale;
    if (row.softcap > 0) s = row.softcap * std::tanh(s / row.softcap);
    most = std::max(most, s);
    score.push_back(s);
  }
  double sum = 0;
  std::fill(out, out + row.head_dim, 0.0);
  for (size_t i = 0; i < score.size(); ++i) {
    double p = std::exp(score[i] - most);
    sum += p;
    const double* v = row.v + (begin + static_cast<int64_t>(i)) * row.head_dim;
    for (int64_t d = 0; d < row.head_dim; ++d) out[d] += p * v[d];
  }
  for (int64_t d = 0; d < row.head_dim; ++d) out[d] /= sum;
}

double kv_k(KvDType dtype, const uint8_t* head, int64_t head_dim, int64_t token, int64_t d) {
  if (dtype == KvDType::kBF16) {
    int64_t half = (head_dim + 1) / 2;
    int64_t index = ((token / 16 * half + d / 2) * 16 + token % 16) * 2 + d % 2;
    return static_cast<double>(tensor::bf16_to_f32(tensor::load_u16(head + 2 * index)));
  }
  int64_t words = (head_dim + 3) / 4;
  int64_t block = std::min<int64_t>(head_dim & -head_dim, 64);  // rotated together: the matrix is its own inverse
  double sum = 0;
  for (int64_t i = 0; i < block; ++i) {
    int64_t from = d / block * block + i;
    int q = head[from / 4 * 128 + token * 4 + from % 4] - 128;
    sum += std::popcount(static_cast<uint64_t>(d % block & i)) % 2 == 0 ? q : -q;
  }
  return sum / std::sqrt(static_cast<double>(block)) *
         static_cast<double>(tensor::load_f16(head + words * 128 + 2 * token));
}

double kv_v(KvDType dtype, const uint8_t* head, int64_t head_dim, int64_t token, int64_t d) {
  int64_t index = (token / 2 * head_dim + d) * 2 + token % 2;
  if (dtype == KvDType::kBF16) {
    const uint8_t* v = head + (head_dim + 1) / 2 * 128;
    return static_cast<double>(tensor::bf16_to_f32(tensor::load_u16(v + 2 * index)));
  }
  const uint8_t* v = head + (head_dim + 3) / 4 * 128 + 64;
  int64_t v_bytes = (head_dim * 32 + 63) / 64 * 64;
  return static_cast<int8_t>(v[index]) * static_cast<double>(tensor::load_f16(v + v_bytes + 2 * token));
}

}  // namespace millrace::kernels::ref
