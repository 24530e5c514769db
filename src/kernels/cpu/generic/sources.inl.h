// Weight sources: how the quants and scales of each panel format become vectors, for 32 values of k at a time. One
// struct per format, written once over the vector type S and instantiated in each ISA folder:
//  kBits          quants are below 1 << kBits
//  kZeroShift     the offset z is 1 << kZeroShift; -1: z = 0
//  kCellGroups    groups of 32 in a cell (1 or 8), kCellValues = 32 kCellGroups
//  quants(cell, g, dword, lane)   dword 0..7 of group g, of the S::kLanes rows from `lane` on
// and the scales of form G (scale, min: f32 per group of 32) or of form S: scale, min: f32 per cell, sub_scale: int per
// 16 values, min_pair: those of two times 16 in the halves of 32 bits. kScaled: quants are multiplied by their
// sub-scale. kProductOffset: what makes those products bytes, where something does. Layout: kernels/layout.h. Thread:
// any.
#pragma once

#include "kernels/cpu/generic/unroll.inl.h"
#include "kernels/layout.h"

namespace millrace::kernels::generic {

template <class S>
struct Parts {
  using U8 = typename S::U8;
  using I32 = typename S::I32;
  using F32 = typename S::F32;

  [[gnu::always_inline]] static U8 nibble(const uint8_t* part, int dword, int lane) {
    return S::bits(S::load_u8(part + dword % 4 * 128 + lane * 4), dword < 4 ? 0 : 4, 15);
  }
  // The field at bit `from` of every byte, moved to bit `to`; mask is its width.
  [[gnu::always_inline]] static U8 moved(U8 x, int from, int to, int mask) {
    return from >= to ? S::bits(x, from - to, mask << to) : S::bits_up(x, to - from, mask << to);
  }
  [[gnu::always_inline]] static U8 pair(const uint8_t* part, int dword, int lane, int to = 0) {
    return moved(S::load_u8(part + dword % 2 * 128 + lane * 4), dword / 2 * 2, to, 3);
  }
  [[gnu::always_inline]] static U8 bit(const uint8_t* part, int dword, int lane, int to) {
    return moved(S::load_u8(part + lane * 4), dword, to, 1);
  }
  // Raw 6-bit scale j of n: nibbles [n/2][32] at `low`, bit pairs [n/4][32] at `high`.
  [[gnu::always_inline]] static I32 scale6(const uint8_t* low, const uint8_t* high, int j, int n, int lane) {
    I32 nibbles = S::widen_u8(low + j % (n / 2) * 32 + lane);
    I32 pairs = S::widen_u8(high + j % (n / 4) * 32 + lane);
    I32 top = S::bits_i32(pairs, j / (n / 4) * 2, 3);
    return S::or_shifted_i32(S::bits_i32(nibbles, j / (n / 2) * 4, 15), top, 4);
  }
};

// Q4_0, Q4_1.
template <class S, bool kHasMin>
struct Nibbles {
  static constexpr int kBits = 4, kZeroShift = kHasMin ? -1 : 3, kCellGroups = 1, kCellValues = 32;
  static constexpr bool kMins = kHasMin;
  static constexpr int64_t kCellBytes = kHasMin ? 640 : 576;
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t, int dword, int lane) {
    return Parts<S>::nibble(cell, dword, lane);
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int64_t, int lane) {
    return S::load_f16(cell + 512 + lane * 2);
  }
  [[gnu::always_inline]] static typename S::F32 min(const uint8_t* cell, int64_t, int lane) {
    return S::load_f16(cell + 576 + lane * 2);
  }
};

// Q5_0, Q5_1.
template <class S, bool kHasMin>
struct Fives {
  static constexpr int kBits = 5, kZeroShift = kHasMin ? -1 : 4, kCellGroups = 1, kCellValues = 32;
  static constexpr bool kMins = kHasMin;
  static constexpr int64_t kCellBytes = kHasMin ? 768 : 704;
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t, int dword, int lane) {
    return S::or_u8(Parts<S>::nibble(cell, dword, lane), Parts<S>::bit(cell + 512, dword, lane, 4));
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int64_t, int lane) {
    return S::load_f16(cell + 640 + lane * 2);
  }
  [[gnu::always_inline]] static typename S::F32 min(const uint8_t* cell, int64_t, int lane) {
    return S::load_f16(cell + 704 + lane * 2);
  }
};

template <class S>
struct Q8_0 {
  static constexpr int kBits = 8, kZeroShift = 7, kCellGroups = 1, kCellValues = 32;
  static constexpr bool kMins = false;
  static constexpr int64_t kCellBytes = 1088;
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t, int dword, int lane) {
    return S::load_u8(cell + dword * 128 + lane * 4);
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int64_t, int lane) {
    return S::load_f16(cell + 1024 + lane * 2);
  }
};

template <class S>
struct Iq4Nl {
  static constexpr int kBits = 8, kZeroShift = 7, kCellGroups = 1, kCellValues = 32;
  static constexpr bool kMins = false;
  static constexpr int64_t kCellBytes = 576;
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t, int dword, int lane) {
    return S::lookup(kIq4Values, Parts<S>::nibble(cell, dword, lane));
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int64_t, int lane) {
    return S::load_f16(cell + 512 + lane * 2);
  }
};

// dw = d * (sc - 32), exact in f32.
template <class S>
struct Iq4Xs {
  static constexpr int kBits = 8, kZeroShift = 7, kCellGroups = 8, kCellValues = 256;
  static constexpr bool kMins = false;
  static constexpr int64_t kCellBytes = 4352;
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t g, int dword, int lane) {
    return S::lookup(kIq4Values, Parts<S>::nibble(cell + g * kNibbleBytes, dword, lane));
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int64_t g, int lane) {
    typename S::I32 raw = Parts<S>::scale6(cell + 4096, cell + 4224, static_cast<int>(g), 8, lane);
    return S::mul(S::load_f16(cell + 4288 + lane * 2), S::to_f32(S::add(raw, S::set_i32(-32))));
  }
};

// Q4_K, Q5_K: dw = d * sc, mw = -dmin * mn, both exact in f32.
template <class S, bool kHigh>
struct ScaleMins {
  static constexpr int kBits = kHigh ? 5 : 4, kZeroShift = -1, kCellGroups = 8, kCellValues = 256;
  static constexpr bool kMins = true;
  static constexpr int64_t kScales = kHigh ? 5120 : 4096, kCellBytes = kScales + 512;
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t g, int dword, int lane) {
    typename S::U8 low = Parts<S>::nibble(cell + g * kNibbleBytes, dword, lane);
    if constexpr (!kHigh) return low;
    return S::or_u8(low, Parts<S>::bit(cell + 4096 + g * kBitBytes, dword, lane, 4));
  }
  // 6-bit value of group g: its nibble (shift 0: scales, 4: mins) and its bit pair in `pairs` [2][32].
  [[gnu::always_inline]] static typename S::F32 six(const uint8_t* scales, int64_t g, int lane, int shift, int pairs) {
    typename S::I32 low = S::bits_i32(S::widen_u8(scales + g * 32 + lane), shift, 15);
    typename S::I32 top = S::widen_u8(scales + pairs + g % 2 * 32 + lane);
    return S::to_f32(S::or_shifted_i32(low, S::bits_i32(top, static_cast<int>(g / 2) * 2, 3), 4));
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int64_t g, int lane) {
    return S::mul(S::load_f16(cell + kScales + 384 + lane * 2), six(cell + kScales, g, lane, 0, 256));
  }
  [[gnu::always_inline]] static typename S::F32 min(const uint8_t* cell, int64_t g, int lane) {
    typename S::F32 dmin = S::mul(S::load_f16(cell + kScales + 448 + lane * 2), S::set(-1.0f));
    return S::mul(dmin, six(cell + kScales, g, lane, 4, 320));
  }
};

// Form S. sub_scale(cell, j, lane): scale of values 16 j .. 16 j + 15 of the cell.
template <class S>
struct Q6K {
  static constexpr int kBits = 6, kZeroShift = 5, kCellValues = 256;
  static constexpr bool kScaled = false;
  static constexpr bool kMins = false;
  static constexpr int64_t kCellBytes = 6720;
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t g, int dword, int lane) {
    typename S::U8 low = Parts<S>::nibble(cell + g * kNibbleBytes, dword, lane);
    return S::or_u8(low, Parts<S>::pair(cell + 4096 + g * kPairBytes, dword, lane, 4));
  }
  [[gnu::always_inline]] static typename S::I32 sub_scale(const uint8_t* cell, int64_t j, int lane) {
    return S::widen_s8(cell + 6144 + j * 32 + lane);
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int lane) {
    return S::load_f16(cell + 6656 + lane * 2);
  }
};

template <class S>
struct Q3K {
  static constexpr int kBits = 3, kZeroShift = 2, kCellValues = 256;
  static constexpr bool kScaled = false;
  static constexpr int kProductOffset = 124;  // (u - 4) * sc is -124 .. 128
  static constexpr bool kMins = false;
  static constexpr int64_t kCellBytes = 3520;
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t g, int dword, int lane) {
    typename S::U8 low = Parts<S>::pair(cell + g * kPairBytes, dword, lane);
    return S::or_u8(low, Parts<S>::bit(cell + 2048 + g * kBitBytes, dword, lane, 2));
  }
  [[gnu::always_inline]] static typename S::I32 sub_scale(const uint8_t* cell, int64_t j, int lane) {
    return S::add(Parts<S>::scale6(cell + 3072, cell + 3328, static_cast<int>(j), 16, lane), S::set_i32(-32));
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int lane) {
    return S::load_f16(cell + 3456 + lane * 2);
  }
};

template <class S>
struct Q2K {
  static constexpr int kBits = 2, kZeroShift = -1, kCellValues = 256;
  static constexpr bool kScaled = false;
  static constexpr int kProductOffset = 0;  // u * sc is 0 .. 45
  static constexpr bool kMins = true;
  static constexpr int64_t kCellBytes = 2688;
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t g, int dword, int lane) {
    return Parts<S>::pair(cell + g * kPairBytes, dword, lane);
  }
  [[gnu::always_inline]] static typename S::I32 sub_scale(const uint8_t* cell, int64_t j, int lane) {
    return S::bits_i32(S::widen_u8(cell + 2048 + j * 32 + lane), 0, 15);
  }
  [[gnu::always_inline]] static typename S::I32 sub_min(const uint8_t* cell, int64_t j, int lane) {
    return S::bits_i32(S::widen_u8(cell + 2048 + j * 32 + lane), 4, 15);
  }
  [[gnu::always_inline]] static typename S::I32 min_pair(const uint8_t* cell, int64_t g, int lane) {
    return S::or_shifted_i32(sub_min(cell, 2 * g, lane), sub_min(cell, 2 * g + 1, lane), 16);
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int lane) {
    return S::load_f16(cell + 2560 + lane * 2);
  }
  [[gnu::always_inline]] static typename S::F32 min(const uint8_t* cell, int lane) {
    return S::mul(S::load_f16(cell + 2624 + lane * 2), S::set(-1.0f));
  }
};

}  // namespace millrace::kernels::generic
