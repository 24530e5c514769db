#include "tensor/formats.h"

#include "base/macros.h"
#include "tensor/formats/floats.h"
#include "tensor/formats/iq4_nl.h"
#include "tensor/formats/iq4_xs.h"
#include "tensor/formats/q2_k.h"
#include "tensor/formats/q3_k.h"
#include "tensor/formats/q4_0.h"
#include "tensor/formats/q4_1.h"
#include "tensor/formats/q4_k.h"
#include "tensor/formats/q5_0.h"
#include "tensor/formats/q5_1.h"
#include "tensor/formats/q5_k.h"
#include "tensor/formats/q6_k.h"
#include "tensor/formats/q8_0.h"

namespace millrace::tensor {
namespace {

template <class F>
void decode_groups(float* out, const uint8_t* groups, int64_t n_groups) {
  for (int64_t i = 0; i < n_groups; ++i) F::decode(out + i * F::kGroupValues, groups + i * F::kGroupBytes);
}

template <class F>
void encode_groups(uint8_t* groups, const float* x, int64_t n_groups) {
  for (int64_t i = 0; i < n_groups; ++i) F::encode(groups + i * F::kGroupBytes, x + i * F::kGroupValues);
}

template <class F>
constexpr FormatInfo row(Format format, std::string_view name, uint32_t gguf_type) {
  FormatInfo info{format, name, gguf_type, F::kGroupValues, F::kGroupBytes};
  info.decode = decode_groups<F>;
  info.encode = encode_groups<F>;
  if constexpr (F::kGroupValues > 1) info.codes = F::codes;
  return info;
}

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool same_name(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (upper(a[i]) != upper(b[i])) return false;
  }
  return true;
}

GroupScales one(const uint8_t* d) { return {1, {load_f16(d), 0.0f}}; }
GroupScales two(const uint8_t* d, const uint8_t* m) { return {2, {load_f16(d), load_f16(m)}}; }

}  // namespace

// gguf_type: ggml.h enum ggml_type.
constexpr FormatInfo kFormats[kNFormats] = {
    row<F32>(Format::kF32, "F32", 0),           row<F16>(Format::kF16, "F16", 1),
    row<BF16>(Format::kBF16, "BF16", 30),       row<Q4_0>(Format::kQ4_0, "Q4_0", 2),
    row<Q4_1>(Format::kQ4_1, "Q4_1", 3),        row<Q5_0>(Format::kQ5_0, "Q5_0", 6),
    row<Q5_1>(Format::kQ5_1, "Q5_1", 7),        row<Q8_0>(Format::kQ8_0, "Q8_0", 8),
    row<Q2_K>(Format::kQ2_K, "Q2_K", 10),       row<Q3_K>(Format::kQ3_K, "Q3_K", 11),
    row<Q4_K>(Format::kQ4_K, "Q4_K", 12),       row<Q5_K>(Format::kQ5_K, "Q5_K", 13),
    row<Q6_K>(Format::kQ6_K, "Q6_K", 14),       row<IQ4_NL>(Format::kIQ4_NL, "IQ4_NL", 20),
    row<IQ4_XS>(Format::kIQ4_XS, "IQ4_XS", 23),
};

const FormatInfo& format_info(Format format) {
  auto index = static_cast<size_t>(format);
  CHECK(index < static_cast<size_t>(kNFormats), "format {}", index);
  return kFormats[index];
}

const FormatInfo* format_of_gguf_type(uint32_t gguf_type) {
  for (const FormatInfo& info : kFormats) {
    if (info.gguf_type == gguf_type) return &info;
  }
  return nullptr;
}

const FormatInfo* format_of_name(std::string_view name) {
  for (const FormatInfo& info : kFormats) {
    if (same_name(info.name, name)) return &info;
  }
  return nullptr;
}

int64_t row_bytes(Format format, int64_t k) {
  const FormatInfo& info = format_info(format);
  CHECK(k >= 0 && k % info.group_values == 0, "{} row of {} values", info.name, k);
  return k / info.group_values * info.group_bytes;
}

GroupScales group_scales(Format format, const uint8_t* group) {
  switch (format) {
    case Format::kF32:
    case Format::kF16:
    case Format::kBF16:
      return {};
    case Format::kQ4_0:
      return one(group + Q4_0::kD);
    case Format::kQ4_1:
      return two(group + Q4_1::kD, group + Q4_1::kM);
    case Format::kQ5_0:
      return one(group + Q5_0::kD);
    case Format::kQ5_1:
      return two(group + Q5_1::kD, group + Q5_1::kM);
    case Format::kQ8_0:
      return one(group + Q8_0::kD);
    case Format::kQ2_K:
      return two(group + Q2_K::kD, group + Q2_K::kDmin);
    case Format::kQ3_K:
      return one(group + Q3_K::kD);
    case Format::kQ4_K:
      return two(group + Q4_K::kD, group + Q4_K::kDmin);
    case Format::kQ5_K:
      return two(group + Q5_K::kD, group + Q5_K::kDmin);
    case Format::kQ6_K:
      return one(group + Q6_K::kD);
    case Format::kIQ4_NL:
      return one(group + IQ4_NL::kD);
    case Format::kIQ4_XS:
      return one(group + IQ4_XS::kD);
  }
  CHECK(false, "format {}", static_cast<int>(format));
  return {};
}

}  // namespace millrace::tensor
