// One group of a model file taken apart: unsigned quants, raw scales. The single reader of file groups in this folder:
// the packers and ref/ both use it, and a test holds it against the exact decoders of tensor/formats.h.
//  value[i] = dw(i) * (q[i] - zero_of(format)) + mw(i); ref/chains.h has dw and mw of each format.
// Thread: any.
#pragma once

#include <cstdint>

#include "tensor/format_id.h"

namespace millrace::kernels {

struct FileGroup {
  uint8_t q[256];  // unsigned quants in k order; table indices for IQ4_*; int8 + 128 for Q8_0
  uint16_t d;      // f16 bits
  uint16_t m;      // f16 bits of m or dmin; 0 where the format has none
  uint8_t sc[16];  // raw sub-scales in k order; int8 bits for Q6_K; biased by 32 for Q3_K and IQ4_XS
  uint8_t mn[16];  // raw sub-mins in k order
};

// bytes: one group of a quantised format (not F32, F16, BF16), any alignment.
void read_file_group(FileGroup& out, tensor::Format format, const uint8_t* bytes);

// Bytes and values of one group in a file.
struct FileGroupSize {
  int64_t values;
  int64_t bytes;
};
// Indexed by tensor::Format. Source: the public GGUF block structs.
constexpr FileGroupSize kFileGroups[tensor::kNFormats] = {
    {1, 4},    {1, 2},     {1, 2},     {32, 18},   {32, 20},   {32, 22}, {32, 24},   {32, 34},
    {256, 84}, {256, 110}, {256, 144}, {256, 176}, {256, 210}, {32, 18}, {256, 136},
};

// The offset z of the unsigned quants. Indexed by tensor::Format.
constexpr int kZeroOf[tensor::kNFormats] = {0, 0, 0, 8, 0, 16, 0, 128, 0, 4, 0, 0, 32, 128, 128};

}  // namespace millrace::kernels
