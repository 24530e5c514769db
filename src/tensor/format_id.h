// The ids of weight formats: what the bytes of a tensor in a file (and in packed panels) mean.
// kFormats (tensor/formats.h) has one row per id with its group shape and reference decoder.
#pragma once

#include <cstdint>

namespace millrace::tensor {

// Persistent: never renumber. A "group" is the unit that shares scales: 32 values, 256 for the K formats, 1 for floats.
enum class Format : uint8_t {
  kF32 = 0,
  kF16 = 1,
  kBF16 = 2,
  kQ4_0 = 3,
  kQ4_1 = 4,
  kQ5_0 = 5,
  kQ5_1 = 6,
  kQ8_0 = 7,
  kQ2_K = 8,
  kQ3_K = 9,
  kQ4_K = 10,
  kQ5_K = 11,
  kQ6_K = 12,
  kIQ4_NL = 13,
  kIQ4_XS = 14,
};
constexpr int kNFormats = 15;

}  // namespace millrace::tensor
