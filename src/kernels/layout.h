// The packed panel: 32 output rows over all of K, as a linear stream of cells. A cell holds one group (32 values, 256
// for the super-group formats, 1 or 2 for floats) of all 32 rows: first the quants, then the scales.
//  nibbles [v 0..3][row 0..31][4 B]: k4 = v in the low, k4 = v + 4 in the high nibble     (k4 = dword of 4 values along
//  k) pairs   [v 0..1][row 0..31][4 B]: k4 = v + 2 i in bit pair i bits    [row 0..31][4 B]:         k4 = i in bit i
//  bytes   [k4 0..7][row 0..31][4 B]
// A super-group cell repeats its quant part for each of its 8 groups of 32. Every part is a multiple of 64 bytes.
// Offsets below are bytes from the start of the cell. Source: docs/contracts/arithmetic.md "Panels".
#pragma once

#include <cstdint>

#include "tensor/format_id.h"

namespace millrace::kernels {

// Counts the changes of what packed bytes mean: images of packed weights (weights/packed_image.h) of another are not
// read.
constexpr int kPackingVersion = 1;

struct PanelCell {
  int64_t values;      // along k
  int64_t cell_bytes;  // all 32 rows
};

// Indexed by tensor::Format.
constexpr PanelCell kPanelCells[tensor::kNFormats] = {
    {1, 128},     // F32: [row 32] f32
    {2, 128},     // F16: [row 32][2] f16
    {2, 128},     // BF16: [row 32][2] bf16
    {32, 576},    // Q4_0: nibbles, d
    {32, 640},    // Q4_1: nibbles, d, m
    {32, 704},    // Q5_0: nibbles, bits, d
    {32, 768},    // Q5_1: nibbles, bits, d, m
    {32, 1088},   // Q8_0: bytes q + 128, d
    {256, 2688},  // Q2_K: pairs, sc | mn << 4 [16][32], d, dmin
    {256, 3520},  // Q3_K: pairs, bits, low nibbles of sc [8][32], bit pairs of sc [4][32], d
    {256, 4608},  // Q4_K: nibbles, sc | mn << 4 [8][32], bit pairs of sc [2][32], of mn [2][32], d, dmin
    {256, 5632},  // Q5_K: nibbles, bits, scales and mins as Q4_K, d, dmin
    {256, 6720},  // Q6_K: nibbles, pairs, sc int8 [16][32], d
    {32, 576},    // IQ4_NL: nibbles (table indices), d
    {256, 4352},  // IQ4_XS: nibbles (table indices), low nibbles of sc [4][32], bit pairs of sc [2][32], d
};

constexpr int64_t kNibbleBytes = 512;  // quant part of one group of 32 values x 32 rows
constexpr int64_t kPairBytes = 256;
constexpr int64_t kBitBytes = 128;
constexpr int64_t kByteBytes = 1024;
constexpr int64_t kRowF16Bytes = 64;  // one f16 for each of the 32 rows

// The 16 values of IQ4_NL and IQ4_XS, plus 128. Source: ggml kvalues_iq4nl.
constexpr uint8_t kIq4Values[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

}  // namespace millrace::kernels
