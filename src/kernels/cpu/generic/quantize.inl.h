// Activation quantisers, once for all vector types S. Rounding and order are fixed so that every ISA writes the same
// bytes (docs/contracts/arithmetic.md "Activations"):
//   amax = largest |x| of the group (as integers, so NaN beats infinity beats numbers)
//   amax < 2^-100: q = 0, d = 0.   else d = amax / 127, q = rne(clamp(x * (127 / amax), -127, 127))
//   A32: sum = sum(q) of the 32, s = d * sum rounded once.   A256: sum per 16.
// A NaN or infinity in a group makes its d NaN or infinite, so it reaches every output that reads the group.
// Thread: any; a call writes only its own rows.
#pragma once

#include "kernels/cpu/generic/unroll.inl.h"
#include "kernels/ops.h"

namespace millrace::kernels::generic {

constexpr float kZeroGroupBelow = 0x1p-100f;

template <class S>
struct Quantize {
  using I32 = typename S::I32;
  using F32 = typename S::F32;

  // Bits of the largest |x| over n values; n is a multiple of kLanes.
  static float amax(const float* x, int64_t n) {
    I32 best = S::zero_i32();
    for (int64_t i = 0; i < n; i += S::kLanes) best = S::max_i32(best, S::abs_bits(S::load(x + i)));
    int32_t bits = S::max_lane(best);
    float value = 0.0f;
    __builtin_memcpy(&value, &bits, 4);
    return value;
  }

  // q = rne(clamp(x * inverse)), 16 values; returns their sum.
  static int32_t round16(int8_t* q, const float* x, float inverse) {
    I32 sum = S::zero_i32();
    for (int i = 0; i < 16; i += S::kLanes) {
      F32 scaled = S::mul(S::load(x + i), S::set(inverse));
      I32 rounded = S::round_i32(S::min(S::max(scaled, S::set(-127.0f)), S::set(127.0f)));
      S::store_low_bytes(q + i, rounded);
      sum = S::add(sum, rounded);
    }
    return S::sum_lanes(sum);
  }

  // One group of kGroup values; sums [kGroup / 16] of its parts of 16. Returns d.
  static float group(int8_t* q, int32_t* sums, const float* x, int n) {
    float largest = amax(x, n);
    if (largest < kZeroGroupBelow) {
      for (int i = 0; i < n; ++i) q[i] = 0;
      for (int i = 0; i < n / 16; ++i) sums[i] = 0;
      return 0.0f;
    }
    float inverse = 127.0f / largest;
    for (int i = 0; i < n / 16; ++i) sums[i] = round16(q + 16 * i, x + 16 * i, inverse);
    return largest / 127.0f;
  }

  // The last group of a row may be short: it is padded with zeros.
  static const float* padded(float* buffer, const float* x, int64_t n_left, int64_t n) {
    if (n_left >= n) return x;
    for (int64_t i = 0; i < n; ++i) buffer[i] = i < n_left ? x[i] : 0.0f;
    return buffer;
  }

  static void a32(const ActRows& act, const float* x, int64_t x_stride, int64_t row_begin, int64_t row_end) {
    int64_t n_groups = (act.k + 31) / 32;
    float buffer[32];
    for (int64_t row = row_begin; row < row_end; ++row) {
      for (int64_t g = 0; g < n_groups; ++g) {
        int64_t at = row * n_groups + g;
        int32_t sums[2];
        const float* from = padded(buffer, x + row * x_stride + g * 32, act.k - g * 32, 32);
        act.d[at] = group(static_cast<int8_t*>(act.data) + at * 32, sums, from, 32);
        act.sum[at] = sums[0] + sums[1];
        act.s[at] = act.d[at] * static_cast<float>(act.sum[at]);
      }
    }
  }

  static void a256(const ActRows& act, const float* x, int64_t x_stride, int64_t row_begin, int64_t row_end) {
    int64_t n_groups = (act.k + 255) / 256;
    float buffer[256];
    for (int64_t row = row_begin; row < row_end; ++row) {
      for (int64_t g = 0; g < n_groups; ++g) {
        int64_t at = row * n_groups + g;
        const float* from = padded(buffer, x + row * x_stride + g * 256, act.k - g * 256, 256);
        act.d[at] = group(static_cast<int8_t*>(act.data) + at * 256, act.sum + at * 16, from, 256);
      }
    }
  }

  static void f32(const ActRows& act, const float* x, int64_t x_stride, int64_t row_begin, int64_t row_end) {
    int64_t k_pad = (act.k + 31) / 32 * 32;
    for (int64_t row = row_begin; row < row_end; ++row) {
      float* out = static_cast<float*>(act.data) + row * k_pad;
      const float* from = x + row * x_stride;
      for (int64_t i = 0; i < act.k; ++i) out[i] = from[i];
      for (int64_t i = act.k; i < k_pad; ++i) out[i] = 0.0f;
    }
  }

  // Nearest, ties to even; NaN stays NaN.
  static void bf16(const ActRows& act, const float* x, int64_t x_stride, int64_t row_begin, int64_t row_end) {
    int64_t k_pad = (act.k + 31) / 32 * 32;
    for (int64_t row = row_begin; row < row_end; ++row) {
      uint16_t* out = static_cast<uint16_t*>(act.data) + row * k_pad;
      const float* from = x + row * x_stride;
      for (int64_t i = 0; i < act.k; ++i) {
        uint32_t bits = 0;
        __builtin_memcpy(&bits, from + i, 4);
        uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
        uint32_t nan = (bits >> 16) | 0x40u;
        out[i] = static_cast<uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? nan : rounded);
      }
      for (int64_t i = act.k; i < k_pad; ++i) out[i] = 0;
    }
  }

  static void fill(KernelTable& table) {
    table.quantize[static_cast<int>(ActKind::kF32)] = f32;
    table.quantize[static_cast<int>(ActKind::kBF16)] = bf16;
    table.quantize[static_cast<int>(ActKind::kQ8A32)] = a32;
    table.quantize[static_cast<int>(ActKind::kQ8A256)] = a256;
  }
};

}  // namespace millrace::kernels::generic
