// Panels made ready: what the sources of sources.inl.h give, written out once per slice of k of a panel and slab of
// rows, so that tiles load bytes and floats instead of unpacking them. The same values, hence the same bits; a ready
// slice lies on the stack of its thread and is read from L2. A ready panel is a source itself.
// Thread: any.
#pragma once

#include "kernels/cpu/generic/unroll.inl.h"
#include "kernels/layout.h"
#include "kernels/ops.h"

namespace millrace::kernels::generic {

constexpr int64_t kRowF32Bytes = kPanelRows * 4;  // one f32 or int32 for each of the 32 rows

// The bytes of group g of W's cell: [8 dwords][32 rows][4]. change(bytes, dword, lane): what is stored of them.
template <class S, class W, class Change>
[[gnu::always_inline]] inline void ready_bytes(uint8_t* out, const uint8_t* cell, int64_t g, const Change& change) {
  for (int lane = 0; lane < kPanelRows; lane += S::kLanes) {
    unroll<8>([&](auto dword) __attribute__((always_inline)) {
      S::store_u8(out + dword * 128 + lane * 4, change(W::quants(cell, g, dword, lane), dword, lane));
    });
  }
}

// Form G, a cell per group of 32: bytes, dw, and mw where there are mins.
template <class S, class W>
struct ReadyG {
  static constexpr int kBits = W::kBits, kZeroShift = W::kZeroShift, kCellGroups = 1;
  static constexpr bool kMins = W::kMins;
  static constexpr int64_t kCellBytes = kByteBytes + (kMins ? 2 : 1) * kRowF32Bytes;
  static constexpr int64_t kSliceValues = 2048;  // of k at a time: 80 KiB of stack, beside a slab of rows in L2
  static constexpr int64_t kSliceBytes = kSliceValues / 32 * kCellBytes;

  static void fill(uint8_t* out, const uint8_t* panel, int64_t k) {
    for (int64_t g = 0; g < k / 32; ++g, out += kCellBytes) {
      const uint8_t* cell = panel + g / W::kCellGroups * W::kCellBytes;
      const int64_t sub = g % W::kCellGroups;
      ready_bytes<S, W>(
          out, cell, sub, [](auto x, int, int) __attribute__((always_inline)) { return x; });
      auto* scales = reinterpret_cast<float*>(out + kByteBytes);
      for (int lane = 0; lane < kPanelRows; lane += S::kLanes) {
        S::store(scales + lane, W::scale(cell, sub, lane));
        if constexpr (kMins) S::store(scales + kPanelRows + lane, W::min(cell, sub, lane));
      }
    }
  }
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t, int dword, int lane) {
    return S::load_u8(cell + dword * 128 + lane * 4);
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int64_t, int lane) {
    return S::load(reinterpret_cast<const float*>(cell + kByteBytes) + lane);
  }
  [[gnu::always_inline]] static typename S::F32 min(const uint8_t* cell, int64_t, int lane) {
    return S::load(reinterpret_cast<const float*>(cell + kByteBytes + kRowF32Bytes) + lane);
  }
};

// Form S, a cell of 256 values: 8 times bytes, sub-scales [16] int32, pairs of sub-mins [8], d, dmin.
// Where a byte product costs no more than any other (S::kByteProducts) and quants times sub-scale fit a byte, the bytes
// are those products: (u - z) * sc + kProductOffset.
template <class S, class W>
struct ReadyS {
  static constexpr bool kScaled = S::kByteProducts && requires { W::kProductOffset; };
  static constexpr int kBits = kScaled ? 8 : W::kBits, kZeroShift = W::kZeroShift;
  static constexpr bool kMins = W::kMins;
  static constexpr int64_t kSubScales = 8 * kByteBytes, kMinPairs = kSubScales + 16 * kRowF32Bytes;
  static constexpr int64_t kD = kMinPairs + 8 * kRowF32Bytes, kCellBytes = kD + 2 * kRowF32Bytes;
  static constexpr int64_t kSliceValues = 2048;  // as in ReadyG: 90 KiB
  static constexpr int64_t kSliceBytes = kSliceValues / 256 * kCellBytes;
  static constexpr int kProductOffset = [] {
    if constexpr (requires { W::kProductOffset; }) return W::kProductOffset;
    return 0;
  }();

  static void fill(uint8_t* out, const uint8_t* panel, int64_t k) {
    for (const uint8_t* cell = panel; k > 0; k -= 256, cell += W::kCellBytes, out += kCellBytes) {
      for (int64_t g = 0; g < 8; ++g) {
        ready_bytes<S, W>(
            out + g * kByteBytes, cell, g, [&](auto x, int dword, int lane) __attribute__((always_inline)) {
              if constexpr (kScaled) {
                auto sc = S::repeat_byte(W::sub_scale(cell, 2 * g + dword / 4, lane));
                if constexpr (kZeroShift >= 0) x = S::add_u8(x, S::set_u8(-(1 << kZeroShift)));
                x = S::add_u8(S::mul_u8(x, sc), S::set_u8(kProductOffset));
              }
              return x;
            });
      }
      for (int lane = 0; lane < kPanelRows; lane += S::kLanes) {
        auto put = [&](int64_t at, auto x) __attribute__((always_inline)) {
          S::store_i32(reinterpret_cast<int32_t*>(out + at) + lane, x);
        };
        for (int64_t j = 0; j < 16 && !kScaled; ++j) put(kSubScales + j * kRowF32Bytes, W::sub_scale(cell, j, lane));
        for (int64_t g = 0; g < 8; ++g) {
          if constexpr (kMins) put(kMinPairs + g * kRowF32Bytes, W::min_pair(cell, g, lane));
        }
        auto* d = reinterpret_cast<float*>(out + kD) + lane;
        S::store(d, W::scale(cell, lane));
        if constexpr (kMins) S::store(d + kPanelRows, W::min(cell, lane));
      }
    }
  }
  [[gnu::always_inline]] static typename S::U8 quants(const uint8_t* cell, int64_t g, int dword, int lane) {
    return S::load_u8(cell + g * kByteBytes + dword * 128 + lane * 4);
  }
  [[gnu::always_inline]] static typename S::I32 sub_scale(const uint8_t* cell, int64_t j, int lane) {
    return S::load_i32(reinterpret_cast<const int32_t*>(cell + kSubScales + j * kRowF32Bytes) + lane);
  }
  [[gnu::always_inline]] static typename S::I32 min_pair(const uint8_t* cell, int64_t g, int lane) {
    return S::load_i32(reinterpret_cast<const int32_t*>(cell + kMinPairs + g * kRowF32Bytes) + lane);
  }
  [[gnu::always_inline]] static typename S::F32 scale(const uint8_t* cell, int lane) {
    return S::load(reinterpret_cast<const float*>(cell + kD) + lane);
  }
  [[gnu::always_inline]] static typename S::F32 min(const uint8_t* cell, int lane) {
    return S::load(reinterpret_cast<const float*>(cell + kD + kRowF32Bytes) + lane);
  }
};

}  // namespace millrace::kernels::generic
