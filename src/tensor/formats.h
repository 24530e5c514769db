// kFormats: one row per weight format, with its group shape and its reference decoder and encoder.
// The decoders define what the bytes mean (bit-exact with the public `gguf` Python package); every kernel is tested
// against them. The encoders are valid and deterministic, not good: they exist to make test checkpoints.
// To add a format: formats/<fmt>.h, an id in format_id.h, a row in formats.cc.
// Thread: any (constants and pure functions).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/format_id.h"

namespace millrace::tensor {

struct FormatInfo {
  Format format = Format::kF32;
  std::string_view name;      // as in GGUF tools: "Q4_K"
  uint32_t gguf_type = 0;     // type id of a tensor in a GGUF file
  uint32_t group_values = 0;  // values that share scales: 1, 32 or 256
  uint32_t group_bytes = 0;   // bytes of one group in a file
  // out: [n_groups * group_values] f32; groups: [n_groups * group_bytes], any alignment
  void (*decode)(float* out, const uint8_t* groups, int64_t n_groups) = nullptr;
  void (*encode)(uint8_t* groups, const float* x, int64_t n_groups) = nullptr;
  // The unsigned codes of one group in value order: q [group_values]. nullptr for float formats.
  void (*codes)(uint8_t* q, const uint8_t* group) = nullptr;
};

// Indexed by Format: kFormats[i].format == Format(i).
extern const FormatInfo kFormats[kNFormats];

const FormatInfo& format_info(Format format);
// nullptr for a type this build does not read.
const FormatInfo* format_of_gguf_type(uint32_t gguf_type);
// "Q4_K", any case; nullptr when unknown.
const FormatInfo* format_of_name(std::string_view name);

// Bytes of one row of k values. k must be a multiple of group_values (CHECK); k >= 0.
int64_t row_bytes(Format format, int64_t k);

// The scales of a group as f32, for the finite-scale check: at most 2 (d and m), or none for float formats.
struct GroupScales {
  int n = 0;
  float scale[2] = {0.0f, 0.0f};
};
GroupScales group_scales(Format format, const uint8_t* group);

}  // namespace millrace::tensor
