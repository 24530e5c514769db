// One row of a packed matrix back to f32, for tied embeddings. Uses the GEMM's own weight sources, so it reads exactly
// what the GEMM multiplies by. Equal to the exact decoders of tensor/formats.h (one test holds them together):
//   form G: dw * (q - z), then + mw;   form S: (d * sc) * (q - z), then + (-dmin) * mn.
// Thread: any.
#include <cstring>

#include "kernels/cpu/generic/gemm.inl.h"
#include "kernels/cpu/generic/gemm_simd.h"
#include "kernels/cpu/generic/panels.h"

namespace millrace::kernels::generic {
namespace {

using S = GemmSimd;
using tensor::Format;

// Lane i of a vector of 4.
float lane_of(S::F32 x, int i) {
  float lanes[4];
  S::store(lanes, x);
  return lanes[i];
}

int32_t lane_of_i32(S::I32 x, int i) {
  int32_t lanes[4];
  S::store_i32(lanes, x);
  return lanes[i];
}

// Group g of a cell for one row: out[i] = float(q - z), 32 values.
template <class W>
void unpack_quants(float* out, const uint8_t* cell, int64_t g, int64_t row) {
  constexpr int kZero = W::kZeroShift < 0 ? 0 : 1 << (W::kZeroShift < 0 ? 0 : W::kZeroShift);
  int lane = static_cast<int>(row / 4 * 4);
  for (int dword = 0; dword < 8; ++dword) {
    alignas(16) uint8_t bytes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes), W::quants(cell, g, dword, lane));
    for (int i = 0; i < 4; ++i) out[dword * 4 + i] = static_cast<float>(bytes[row % 4 * 4 + i] - kZero);
  }
}

template <class W>
void unpack_g(float* out, const uint8_t* panels, int64_t row, int64_t k) {
  const uint8_t* panel = panels + row / kPanelRows * (k / (32 * W::kCellGroups) * W::kCellBytes);
  int64_t r = row % kPanelRows;
  int lane = static_cast<int>(r / 4 * 4);
  int pick = static_cast<int>(r % 4);
  for (int64_t g = 0; g < k / 32; ++g) {
    const uint8_t* cell = panel + g / W::kCellGroups * W::kCellBytes;
    int64_t sub = g % W::kCellGroups;
    unpack_quants<W>(out + 32 * g, cell, sub, r);
    float dw = lane_of(W::scale(cell, sub, lane), pick);
    for (int i = 0; i < 32; ++i) out[32 * g + i] *= dw;
    if constexpr (W::kMins) {
      float mw = lane_of(W::min(cell, sub, lane), pick);
      for (int i = 0; i < 32; ++i) out[32 * g + i] += mw;
    }
  }
}

template <class W>
void unpack_s(float* out, const uint8_t* panels, int64_t row, int64_t k) {
  const uint8_t* panel = panels + row / kPanelRows * (k / 256 * W::kCellBytes);
  int64_t r = row % kPanelRows;
  int lane = static_cast<int>(r / 4 * 4);
  int pick = static_cast<int>(r % 4);
  for (int64_t j = 0; j < k / 16; ++j) {
    const uint8_t* cell = panel + j / 16 * W::kCellBytes;
    if (j % 2 == 0) unpack_quants<W>(out + 16 * j, cell, j % 16 / 2, r);
    float dl =
        lane_of(W::scale(cell, lane), pick) * static_cast<float>(lane_of_i32(W::sub_scale(cell, j % 16, lane), pick));
    for (int i = 0; i < 16; ++i) out[16 * j + i] *= dl;
    if constexpr (W::kMins) {
      float ml =
          lane_of(W::min(cell, lane), pick) * static_cast<float>(lane_of_i32(W::sub_min(cell, j % 16, lane), pick));
      for (int i = 0; i < 16; ++i) out[16 * j + i] += ml;
    }
  }
}

template <class W>
void unpack_f(float* out, const uint8_t* panels, int64_t row, int64_t k) {
  const uint8_t* panel = panels + row / kPanelRows * ((k + W::kStep - 1) / W::kStep * 128);
  int64_t r = row % kPanelRows;
  int lane = static_cast<int>(r / 4 * 4);
  for (int64_t i = 0; i < k; ++i) {
    const uint8_t* cell = panel + i / W::kStep * 128;
    out[i] = lane_of(W::value(cell, static_cast<int>(i % W::kStep), lane), static_cast<int>(r % 4));
  }
}

}  // namespace

void fill_unpack(KernelTable& table) {
  auto set = [&table](Format format, UnpackRow unpack) { table.unpack_row[static_cast<int>(format)] = unpack; };
  set(Format::kF32, unpack_f<F32Weights<S>>);
  set(Format::kF16, unpack_f<F16Weights<S>>);
  set(Format::kBF16, unpack_f<Bf16Weights<S>>);
  set(Format::kQ4_0, unpack_g<Nibbles<S, false>>);
  set(Format::kQ4_1, unpack_g<Nibbles<S, true>>);
  set(Format::kQ5_0, unpack_g<Fives<S, false>>);
  set(Format::kQ5_1, unpack_g<Fives<S, true>>);
  set(Format::kQ8_0, unpack_g<Q8_0<S>>);
  set(Format::kQ2_K, unpack_s<Q2K<S>>);
  set(Format::kQ3_K, unpack_s<Q3K<S>>);
  set(Format::kQ4_K, unpack_g<ScaleMins<S, false>>);
  set(Format::kQ5_K, unpack_g<ScaleMins<S, true>>);
  set(Format::kQ6_K, unpack_s<Q6K<S>>);
  set(Format::kIQ4_NL, unpack_g<Iq4Nl<S>>);
  set(Format::kIQ4_XS, unpack_g<Iq4Xs<S>>);
}

}  // namespace millrace::kernels::generic
