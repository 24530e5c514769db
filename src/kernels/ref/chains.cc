// Scalar chains. fma is std::fma: one rounding. Thread: any.
#include "kernels/ref/chains.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/file_group.h"
#include "tensor/float16.h"

namespace millrace::kernels::ref {
namespace {

using tensor::Format;

bool is_super(Format format) { return act_kind_of(format) == ActKind::kQ8A256; }

constexpr int kIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// The signed quant of value i: q - z.
int quant(Format format, const FileGroup& group, int64_t i) {
  if (format == Format::kIQ4_NL || format == Format::kIQ4_XS) return kIq4[group.q[i]];
  return static_cast<int>(group.q[i]) - kZeroOf[static_cast<int>(format)];
}

// The integer sub-scale of values 16 j .. (form S).
int sub_scale(Format format, const FileGroup& group, int64_t j) {
  if (format == Format::kQ6_K) return static_cast<int8_t>(group.sc[j]);
  return format == Format::kQ3_K ? static_cast<int>(group.sc[j]) - 32 : static_cast<int>(group.sc[j]);
}

// dw and mw of the group of 32 with index g inside the file group (form G).
float scale_of(Format format, const FileGroup& group, int64_t g) {
  float d = tensor::f16_to_f32(group.d);
  if (format == Format::kQ4_K || format == Format::kQ5_K) return d * static_cast<float>(group.sc[g]);
  if (format == Format::kIQ4_XS) return d * static_cast<float>(static_cast<int>(group.sc[g]) - 32);
  return d;
}

bool has_min(Format format) {
  return format == Format::kQ4_1 || format == Format::kQ5_1 || format == Format::kQ4_K || format == Format::kQ5_K ||
         format == Format::kQ2_K;
}

float min_of(Format format, const FileGroup& group, int64_t g) {
  float m = tensor::f16_to_f32(group.m);
  if (format == Format::kQ4_K || format == Format::kQ5_K) return -m * static_cast<float>(group.mn[g]);
  return m;
}

float float_weight(Format format, const uint8_t* row, int64_t i) {
  if (format == Format::kF16) return tensor::load_f16(row + 2 * i);
  if (format == Format::kBF16) return tensor::bf16_to_f32(tensor::load_u16(row + 2 * i));
  float value = 0.0f;
  std::memcpy(&value, row + 4 * i, 4);
  return value;
}

bool is_float(Format format) { return format == Format::kF32 || format == Format::kF16 || format == Format::kBF16; }

float dot_groups(Format format, const FileGroup& group, const RefAct& act, int64_t first, int64_t n, float acc) {
  for (int64_t g = 0; g < n; ++g) {
    int32_t isum = 0;
    for (int64_t i = 0; i < 32; ++i) {
      isum += quant(format, group, 32 * g + i) * act.q[static_cast<size_t>(32 * (first + g) + i)];
    }
    auto at = static_cast<size_t>(first + g);
    acc = std::fma(static_cast<float>(isum), scale_of(format, group, g) * act.d[at], acc);
    if (has_min(format)) acc = std::fma(min_of(format, group, g), act.s[at], acc);
  }
  return acc;
}

float dot_super(Format format, const FileGroup& group, const RefAct& act, int64_t i_group, float acc) {
  int32_t isum = 0;
  int32_t imin = 0;
  for (int64_t j = 0; j < 16; ++j) {
    int32_t isum16 = 0;
    for (int64_t i = 16 * j; i < 16 * j + 16; ++i) {
      isum16 += quant(format, group, i) * act.q[static_cast<size_t>(256 * i_group + i)];
    }
    isum += sub_scale(format, group, j) * isum16;
    imin += static_cast<int>(group.mn[j]) * act.sum[static_cast<size_t>(16 * i_group + j)];
  }
  float da = act.d[static_cast<size_t>(i_group)];
  acc = std::fma(static_cast<float>(isum), tensor::f16_to_f32(group.d) * da, acc);
  if (has_min(format)) acc = std::fma(static_cast<float>(imin), -tensor::f16_to_f32(group.m) * da, acc);
  return acc;
}

// One group of n values: d, then q.
float quantize_group(int32_t* q, const float* x, int64_t n) {
  uint32_t largest_bits = 0;  // as integers, NaN is above infinity
  for (int64_t i = 0; i < n; ++i) largest_bits = std::max(largest_bits, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu);
  auto amax = std::bit_cast<float>(largest_bits);
  if (amax < 0x1p-100f) {
    for (int64_t i = 0; i < n; ++i) q[i] = 0;
    return 0.0f;
  }
  float inverse = 127.0f / amax;
  for (int64_t i = 0; i < n; ++i) {
    float scaled = x[i] * inverse;
    scaled = scaled > -127.0f ? scaled : -127.0f;  // NaN becomes -127
    scaled = scaled < 127.0f ? scaled : 127.0f;
    q[i] = static_cast<int32_t>(std::nearbyint(scaled));
  }
  return amax / 127.0f;
}

}  // namespace

ActKind act_kind_of(Format format) {
  if (is_float(format)) return ActKind::kF32;
  bool super = format == Format::kQ2_K || format == Format::kQ3_K || format == Format::kQ6_K;
  return super ? ActKind::kQ8A256 : ActKind::kQ8A32;
}

RefAct quantize_row(ActKind kind, const float* x, int64_t k) {
  RefAct act;
  act.kind = kind;
  if (kind == ActKind::kF32 || kind == ActKind::kBF16) {
    for (int64_t i = 0; i < k; ++i) {
      act.f.push_back(kind == ActKind::kF32 ? x[i] : tensor::bf16_to_f32(tensor::f32_to_bf16(x[i])));
    }
    return act;
  }
  int64_t group = kind == ActKind::kQ8A256 ? 256 : 32;
  int64_t part = kind == ActKind::kQ8A256 ? 16 : 32;
  int64_t n_groups = (k + group - 1) / group;
  std::vector<float> padded(static_cast<size_t>(n_groups * group), 0.0f);
  std::copy(x, x + k, padded.begin());
  act.q.resize(padded.size());
  for (int64_t g = 0; g < n_groups; ++g) {
    auto at = static_cast<size_t>(g * group);
    act.d.push_back(quantize_group(act.q.data() + at, padded.data() + at, group));
    for (int64_t p = 0; p < group; p += part) {
      int32_t sum = 0;
      for (int64_t i = p; i < p + part; ++i) sum += act.q[at + static_cast<size_t>(i)];
      act.sum.push_back(sum);
    }
    if (kind == ActKind::kQ8A32) act.s.push_back(act.d.back() * static_cast<float>(act.sum.back()));
  }
  return act;
}

float dot(Format format, const uint8_t* row, const RefAct& act, int64_t k) {
  float acc = 0.0f;
  if (is_float(format)) {
    for (int64_t i = 0; i < k; ++i) acc = std::fma(float_weight(format, row, i), act.f[static_cast<size_t>(i)], acc);
    return acc;
  }
  const FileGroupSize& size = kFileGroups[static_cast<int>(format)];
  FileGroup group;
  for (int64_t i = 0; i < k / size.values; ++i) {
    read_file_group(group, format, row + i * size.bytes);
    int64_t n = size.values / 32;
    acc = is_super(format) ? dot_super(format, group, act, i, acc) : dot_groups(format, group, act, i * n, n, acc);
  }
  return acc;
}

void decode_row(Format format, float* out, const uint8_t* row, int64_t k) {
  if (is_float(format)) {
    for (int64_t i = 0; i < k; ++i) out[i] = float_weight(format, row, i);
    return;
  }
  const FileGroupSize& size = kFileGroups[static_cast<int>(format)];
  FileGroup group;
  for (int64_t i = 0; i < k; ++i) {
    int64_t at = i % size.values;
    if (at == 0) read_file_group(group, format, row + i / size.values * size.bytes);
    float d = tensor::f16_to_f32(group.d);
    float dw =
        is_super(format) ? d * static_cast<float>(sub_scale(format, group, at / 16)) : scale_of(format, group, at / 32);
    out[i] = dw * static_cast<float>(quant(format, group, at));
    if (!has_min(format)) continue;
    float sub_min = -tensor::f16_to_f32(group.m) * static_cast<float>(group.mn[at / 16]);
    out[i] += is_super(format) ? sub_min : min_of(format, group, at / 32);
  }
}

}  // namespace millrace::kernels::ref
