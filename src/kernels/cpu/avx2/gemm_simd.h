// The vector operations of the GEMM kernels on x86-64-v3: AVX2 and FMA, 8 lanes. Same meaning and same bits as
// cpu/generic/gemm_simd.h. There is no VNNI here: bytes are multiplied by vpmaddubsw, whose 16-bit pair sums must not
// saturate. A run of 2 n products of b-bit weights and activations of at most 127 stays below 32768 for
//   b <= 4: 8 dwords (30480);  b = 5: 4 dwords (31496);  b = 6: 2 dwords (32004);
// 8-bit weights are two runs, low and high nibbles. Source: CPU_KERNELS section 4.
// Thread: any.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/generic/unroll.inl.h"

namespace millrace::kernels::avx2 {
namespace {

using generic::settled;
using generic::unroll;

template <int kTileVecs, int kTileRows>
struct TileSimd {
  using U8 = __m256i;
  using I32 = __m256i;
  using F32 = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kVecs = kTileVecs;
  static constexpr int kMaxRows = kTileRows;
  using OneRow = TileSimd<4, 1>;  // all 32 rows of a panel at once: a single pass over weights that come from memory
  static constexpr bool kUnpackOnce = true;
  static constexpr bool kByteProducts = false;

  static U8 load_u8(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store_u8(uint8_t* p, U8 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  static U8 bits(U8 x, int shift, int mask) {
    return _mm256_and_si256(_mm256_srli_epi16(x, shift), _mm256_set1_epi8(static_cast<char>(mask)));
  }
  static U8 bits_up(U8 x, int shift, int mask) {
    return _mm256_and_si256(_mm256_slli_epi16(x, shift), _mm256_set1_epi8(static_cast<char>(mask)));
  }
  static U8 or_u8(U8 x, U8 y) { return _mm256_or_si256(x, y); }
  static U8 lookup(const uint8_t* table, U8 x) {
    __m128i lane = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(lane), x);
  }

  static I32 zero_i32() { return _mm256_setzero_si256(); }
  static I32 set_i32(int32_t x) { return _mm256_set1_epi32(x); }
  static I32 load_i32(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store_i32(int32_t* p, I32 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  static I32 widen_u8(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static I32 widen_s8(const uint8_t* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static I32 bits_i32(I32 x, int shift, int mask) {
    return _mm256_and_si256(_mm256_srli_epi32(x, shift), _mm256_set1_epi32(mask));
  }
  static I32 or_shifted_i32(I32 x, I32 y, int shift) { return _mm256_or_si256(x, _mm256_slli_epi32(y, shift)); }
  static I32 add(I32 x, I32 y) { return _mm256_add_epi32(x, y); }
  static I32 mul_i32(I32 x, I32 y) { return _mm256_mullo_epi32(x, y); }
  static I32 add_pairs_i16(I32 sum, I32 x, I32 y) { return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y)); }
  static I32 max_i32(I32 x, I32 y) { return _mm256_max_epi32(x, y); }
  static __m128i half_of(__m128i x, __m128i y, bool largest) {
    return largest ? _mm_max_epi32(x, y) : _mm_add_epi32(x, y);
  }
  static int32_t reduced(I32 x, bool largest) {
    __m128i four = half_of(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1), largest);
    __m128i two = half_of(four, _mm_shuffle_epi32(four, 0x4E), largest);
    return _mm_cvtsi128_si32(half_of(two, _mm_shuffle_epi32(two, 0xB1), largest));
  }
  static int32_t max_lane(I32 x) { return reduced(x, true); }
  static int32_t sum_lanes(I32 x) { return reduced(x, false); }
  static I32 abs_bits(F32 x) { return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7FFFFFFF)); }
  static void store_low_bytes(int8_t* p, I32 x) {
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }

  static F32 zero() { return _mm256_setzero_ps(); }
  static F32 set(float x) { return _mm256_set1_ps(x); }
  static F32 load(const float* p) { return _mm256_loadu_ps(p); }
  static __m256i first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static F32 load_first(const float* p, int n) { return _mm256_maskload_ps(p, first(n)); }
  static void store(float* p, F32 x) { _mm256_storeu_ps(p, x); }
  static void store_first(float* p, F32 x, int n) { _mm256_maskstore_ps(p, first(n), x); }
  static F32 mul(F32 x, F32 y) { return _mm256_mul_ps(x, y); }
  static F32 add_f32(F32 x, F32 y) { return _mm256_add_ps(x, y); }
  static F32 max(F32 x, F32 y) { return _mm256_max_ps(x, y); }
  static F32 min(F32 x, F32 y) { return _mm256_min_ps(x, y); }
  static F32 fma(F32 x, F32 y, F32 z) { return _mm256_fmadd_ps(x, y, z); }
  static F32 to_f32(I32 x) { return _mm256_cvtepi32_ps(x); }
  static I32 round_i32(F32 x) { return _mm256_cvtps_epi32(x); }
  static F32 load_f16(const uint8_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static F32 f16_of_pair(const uint8_t* p, bool odd) {
    __m256i dwords = load_u8(p);
    __m256i words = odd ? _mm256_srli_epi32(dwords, 16) : _mm256_and_si256(dwords, _mm256_set1_epi32(0xFFFF));
    return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }
  static F32 bf16_of_pair(const uint8_t* p, bool odd) {
    __m256i dwords = load_u8(p);
    __m256i high = odd ? _mm256_andnot_si256(_mm256_set1_epi32(0xFFFF), dwords) : _mm256_slli_epi32(dwords, 16);
    return _mm256_castsi256_ps(high);
  }

  static constexpr int run_dwords(int bits) { return bits == 5 ? 4 : bits == 6 ? 2 : 8; }

  // One run: isum += factor * sum over [kBegin, kBegin + kCount) of get(dword, v) * a, no int16 saturating.
  template <int kBegin, int kCount, int kRows, class Get>
  [[gnu::always_inline]] static void run(I32 (&isum)[size_t{kRows}][size_t{kVecs}], const int8_t* a, int64_t a_stride,
                                         int16_t factor, const Get& get) {
    __m256i pairs[size_t{kRows}][size_t{kVecs}];
    unroll<kCount>([&](auto i) __attribute__((always_inline)) {
      constexpr int kDword = kBegin + decltype(i){};
      unroll<kVecs>([&](auto v) __attribute__((always_inline)) {
        U8 weights = get(generic::Index<kDword>{}, v);
        unroll<kRows>([&](auto row) __attribute__((always_inline)) {
          int32_t quad = 0;
          __builtin_memcpy(&quad, a + row * a_stride + 4 * kDword, 4);
          __m256i products = _mm256_maddubs_epi16(weights, _mm256_set1_epi32(quad));
          pairs[row][v] = settled(decltype(i){} == 0 ? products : _mm256_add_epi16(pairs[row][v], products));
        });
      });
    });
    unroll<kRows>([&](auto row) __attribute__((always_inline)) {
      unroll<kVecs>([&](auto v) __attribute__((always_inline)) {
        __m256i sums = _mm256_madd_epi16(pairs[row][v], _mm256_set1_epi16(factor));
        isum[row][v] = _mm256_add_epi32(isum[row][v], sums);
      });
    });
  }

  template <int kBits, int kDwords, int kRows, class Get>
  [[gnu::always_inline]] static void dot(I32 (&isum)[size_t{kRows}][size_t{kVecs}], const int8_t* a, int64_t a_stride,
                                         const Get& get) {
    static_assert(kBits <= 6 || kBits == 8);
    constexpr int kRun = run_dwords(kBits) < kDwords ? run_dwords(kBits) : kDwords;
    unroll<kDwords / kRun>([&](auto i) __attribute__((always_inline)) {
      constexpr int kBegin = decltype(i){} * kRun;
      if constexpr (kBits == 8) {
        run<kBegin, kRun, kRows>(
            isum, a, a_stride,
            1, [&](auto dword, auto v) __attribute__((always_inline)) { return bits(get(dword, v), 0, 15); });
        run<kBegin, kRun, kRows>(
            isum, a, a_stride,
            16, [&](auto dword, auto v) __attribute__((always_inline)) { return bits(get(dword, v), 4, 15); });
      } else {
        run<kBegin, kRun, kRows>(isum, a, a_stride, 1, get);
      }
    });
  }
};

// 6 int16 sums and their operands fit 16 registers; f32 sums spill to L1. 16 of the 32 rows of a panel.
using GemmSimd = TileSimd<2, 3>;

}  // namespace
}  // namespace millrace::kernels::avx2
