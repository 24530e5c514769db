// F32, F16, BF16: a group is one value. Source: GGUF types 0, 1, 30. Thread: any.
#pragma once

#include "tensor/float16.h"

namespace millrace::tensor {

struct F32 {
  static constexpr uint32_t kGroupValues = 1, kGroupBytes = 4;
  static void decode(float* out, const uint8_t* group) { std::memcpy(out, group, 4); }
  static void encode(uint8_t* group, const float* x) { std::memcpy(group, x, 4); }
};

struct F16 {
  static constexpr uint32_t kGroupValues = 1, kGroupBytes = 2;
  static void decode(float* out, const uint8_t* group) { *out = load_f16(group); }
  static void encode(uint8_t* group, const float* x) { store_f16(group, *x); }
};

struct BF16 {
  static constexpr uint32_t kGroupValues = 1, kGroupBytes = 2;
  static void decode(float* out, const uint8_t* group) { *out = bf16_to_f32(load_u16(group)); }
  static void encode(uint8_t* group, const float* x) { store_u16(group, f32_to_bf16(*x)); }
};

}  // namespace millrace::tensor
