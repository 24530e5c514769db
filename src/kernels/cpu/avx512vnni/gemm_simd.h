// The vector operations of the GEMM kernels on AVX-512 with VNNI: 16 lanes. Same meaning and same bits as
// cpu/generic/gemm_simd.h. The tile of 6 rows x 2 vectors keeps 12 int32 and 12 f32 sums in 32 registers.
// Source: CPU_KERNELS sections 4 and 6. Thread: any.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/generic/unroll.inl.h"

namespace millrace::kernels::avx512vnni {
namespace {

using generic::unroll;

struct GemmSimd {
  using U8 = __m512i;
  using I32 = __m512i;
  using F32 = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kVecs = 2;
  static constexpr int kMaxRows = 6;
  using OneRow = GemmSimd;
  static constexpr bool kUnpackOnce = false;
  static constexpr bool kByteProducts = true;

  static U8 load_u8(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static void store_u8(uint8_t* p, U8 x) { _mm512_storeu_si512(p, x); }
  static U8 set_u8(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
  static U8 add_u8(U8 x, U8 y) { return _mm512_add_epi8(x, y); }
  static U8 mul_u8(U8 x, U8 y) {
    __m512i odd = _mm512_mullo_epi16(_mm512_srli_epi16(x, 8), _mm512_srli_epi16(y, 8));
    __m512i even = _mm512_and_si512(_mm512_mullo_epi16(x, y), _mm512_set1_epi16(0xFF));
    return _mm512_or_si512(even, _mm512_slli_epi16(odd, 8));
  }
  static U8 repeat_byte(I32 x) {
    return _mm512_mullo_epi32(_mm512_and_si512(x, _mm512_set1_epi32(0xFF)), _mm512_set1_epi32(0x01010101));
  }
  static U8 bits(U8 x, int shift, int mask) {
    return _mm512_and_si512(_mm512_srli_epi16(x, static_cast<uint8_t>(shift)),
                            _mm512_set1_epi8(static_cast<char>(mask)));
  }
  static U8 bits_up(U8 x, int shift, int mask) {
    return _mm512_and_si512(_mm512_slli_epi16(x, static_cast<uint8_t>(shift)),
                            _mm512_set1_epi8(static_cast<char>(mask)));
  }
  static U8 or_u8(U8 x, U8 y) { return _mm512_or_si512(x, y); }
  static U8 lookup(const uint8_t* table, U8 x) {
    __m128i lane = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(lane), x);
  }

  static I32 zero_i32() { return _mm512_setzero_si512(); }
  static I32 set_i32(int32_t x) { return _mm512_set1_epi32(x); }
  static I32 load_i32(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void store_i32(int32_t* p, I32 x) { _mm512_storeu_si512(p, x); }
  static I32 widen_u8(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static I32 widen_s8(const uint8_t* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static I32 bits_i32(I32 x, int shift, int mask) {
    return _mm512_and_si512(_mm512_srli_epi32(x, static_cast<uint8_t>(shift)), _mm512_set1_epi32(mask));
  }
  static I32 or_shifted_i32(I32 x, I32 y, int shift) {
    return _mm512_or_si512(x, _mm512_slli_epi32(y, static_cast<uint8_t>(shift)));
  }
  static I32 add(I32 x, I32 y) { return _mm512_add_epi32(x, y); }
  static I32 mul_i32(I32 x, I32 y) { return _mm512_mullo_epi32(x, y); }
  static I32 add_pairs_i16(I32 sum, I32 x, I32 y) { return _mm512_dpwssd_epi32(sum, x, y); }
  static I32 max_i32(I32 x, I32 y) { return _mm512_max_epi32(x, y); }
  static int32_t max_lane(I32 x) { return _mm512_reduce_max_epi32(x); }
  static int32_t sum_lanes(I32 x) { return _mm512_reduce_add_epi32(x); }
  static I32 abs_bits(F32 x) { return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7FFFFFFF)); }
  static void store_low_bytes(int8_t* p, I32 x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
  }

  static F32 zero() { return _mm512_setzero_ps(); }
  static F32 set(float x) { return _mm512_set1_ps(x); }
  static F32 load(const float* p) { return _mm512_loadu_ps(p); }
  static __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
  static F32 load_first(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store(float* p, F32 x) { _mm512_storeu_ps(p, x); }
  static void store_first(float* p, F32 x, int n) { _mm512_mask_storeu_ps(p, first(n), x); }
  static F32 mul(F32 x, F32 y) { return _mm512_mul_ps(x, y); }
  static F32 add_f32(F32 x, F32 y) { return _mm512_add_ps(x, y); }
  static F32 max(F32 x, F32 y) { return _mm512_max_ps(x, y); }
  static F32 min(F32 x, F32 y) { return _mm512_min_ps(x, y); }
  static F32 fma(F32 x, F32 y, F32 z) { return _mm512_fmadd_ps(x, y, z); }
  static F32 to_f32(I32 x) { return _mm512_cvtepi32_ps(x); }
  static I32 round_i32(F32 x) { return _mm512_cvtps_epi32(x); }
  static F32 load_f16(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F32 f16_of_pair(const uint8_t* p, bool odd) {
    __m512i dwords = load_u8(p);
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(odd ? _mm512_srli_epi32(dwords, 16) : dwords));
  }
  static F32 bf16_of_pair(const uint8_t* p, bool odd) {
    __m512i dwords = load_u8(p);
    __m512i high = odd ? _mm512_andnot_si512(_mm512_set1_epi32(0xFFFF), dwords) : _mm512_slli_epi32(dwords, 16);
    return _mm512_castsi512_ps(high);
  }

  template <int kBits, int kDwords, int kRows, class Get>
  [[gnu::always_inline]] static void dot(I32 (&isum)[size_t{kRows}][size_t{kVecs}], const int8_t* a, int64_t a_stride,
                                         const Get& get) {
    unroll<kDwords>([&](auto dword) __attribute__((always_inline)) {
      __m512i weights[kVecs];
      unroll<kVecs>([&](auto v) __attribute__((always_inline)) { weights[v] = get(dword, v); });
      unroll<kRows>([&](auto row) __attribute__((always_inline)) {
        int32_t quad = 0;
        __builtin_memcpy(&quad, a + row * a_stride + 4 * dword, 4);
        __m512i x = _mm512_set1_epi32(quad);
        unroll<kVecs>([&](auto v) __attribute__((always_inline)) {
          isum[row][v] = _mm512_dpbusd_epi32(isum[row][v], weights[v], x);
        });
      });
    });
  }
};

}  // namespace
}  // namespace millrace::kernels::avx512vnni
