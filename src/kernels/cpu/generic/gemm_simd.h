// The vector operations of the GEMM kernels on plain x86-64: SSE2, 4 lanes. Lanes are output rows; a byte vector holds
// one dword (4 values along k) of each lane. cpu/avx2 and cpu/avx512vnni have the same struct for their registers;
// all three give the same bits (integers are exact, every float operation is one IEEE operation).
// There is no FMA in SSE2: fma() goes through fmaf, which is exact and slow.
// Thread: any.
#pragma once

#include <emmintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/generic/unroll.inl.h"

namespace millrace::kernels::generic {
namespace {

struct GemmSimd {
  using U8 = __m128i;
  using I32 = __m128i;
  using F32 = __m128;
  static constexpr int kLanes = 4;
  static constexpr int kVecs = 2;     // vectors of lanes per tile
  static constexpr int kMaxRows = 2;  // activation rows per tile
  using OneRow = GemmSimd;            // the vectors for calls of a single row, which read weights from memory
  // Panels of form G are worth making ready (ready.inl.h) even where only quants are packed.
  static constexpr bool kUnpackOnce = false;
  // dot() costs the same for weights of 8 bits as for any other.
  static constexpr bool kByteProducts = true;

  // Bytes.
  static U8 load_u8(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static void store_u8(uint8_t* p, U8 x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }
  // Sums and products modulo 256; only where kByteProducts.
  static U8 set_u8(int x) { return _mm_set1_epi8(static_cast<char>(x)); }
  static U8 add_u8(U8 x, U8 y) { return _mm_add_epi8(x, y); }
  static U8 mul_u8(U8 x, U8 y) {
    __m128i odd = _mm_mullo_epi16(_mm_srli_epi16(x, 8), _mm_srli_epi16(y, 8));
    __m128i even = _mm_and_si128(_mm_mullo_epi16(x, y), _mm_set1_epi16(0xFF));
    return _mm_or_si128(even, _mm_slli_epi16(odd, 8));
  }
  // The low byte of each lane in all of its bytes.
  static U8 repeat_byte(I32 x) {
    __m128i low = _mm_and_si128(x, _mm_set1_epi32(0xFF));
    __m128i two = _mm_or_si128(low, _mm_slli_epi32(low, 8));
    return _mm_or_si128(two, _mm_slli_epi32(two, 16));
  }
  // (x >> shift) & mask in every byte; mask < 1 << (8 - shift).
  static U8 bits(U8 x, int shift, int mask) {
    return _mm_and_si128(_mm_srli_epi16(x, shift), _mm_set1_epi8(static_cast<char>(mask)));
  }
  // (x << shift) & mask in every byte; mask has no bit below `shift`.
  static U8 bits_up(U8 x, int shift, int mask) {
    return _mm_and_si128(_mm_slli_epi16(x, shift), _mm_set1_epi8(static_cast<char>(mask)));
  }
  static U8 or_u8(U8 x, U8 y) { return _mm_or_si128(x, y); }
  // table[x] in every byte; x < 16.
  static U8 lookup(const uint8_t* table, U8 x) {
    alignas(16) uint8_t bytes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes), x);
    for (uint8_t& byte : bytes) byte = table[byte];
    return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
  }

  // 32-bit integers.
  static I32 zero_i32() { return _mm_setzero_si128(); }
  static I32 set_i32(int32_t x) { return _mm_set1_epi32(x); }
  static I32 load_i32(const int32_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static void store_i32(int32_t* p, I32 x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }
  static I32 widen_u8(const uint8_t* p) {
    int32_t dword = 0;
    __builtin_memcpy(&dword, p, 4);
    __m128i words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(dword), _mm_setzero_si128());
    return _mm_unpacklo_epi16(words, _mm_setzero_si128());
  }
  static I32 widen_s8(const uint8_t* p) {
    int32_t dword = 0;
    __builtin_memcpy(&dword, p, 4);
    __m128i bytes = _mm_cvtsi32_si128(dword);
    __m128i words = _mm_unpacklo_epi8(bytes, bytes);
    return _mm_srai_epi32(_mm_unpacklo_epi16(words, words), 24);
  }
  static I32 bits_i32(I32 x, int shift, int mask) {
    return _mm_and_si128(_mm_srli_epi32(x, shift), _mm_set1_epi32(mask));
  }
  static I32 or_shifted_i32(I32 x, I32 y, int shift) { return _mm_or_si128(x, _mm_slli_epi32(y, shift)); }
  static I32 add(I32 x, I32 y) { return _mm_add_epi32(x, y); }
  static I32 mul_i32(I32 x, I32 y) {
    __m128i even = _mm_mul_epu32(x, y);
    __m128i odd = _mm_mul_epu32(_mm_srli_epi64(x, 32), _mm_srli_epi64(y, 32));
    return _mm_unpacklo_epi32(_mm_shuffle_epi32(even, 8), _mm_shuffle_epi32(odd, 8));
  }
  // sum + x.low * y.low + x.high * y.high, the signed 16-bit halves of each lane.
  static I32 add_pairs_i16(I32 sum, I32 x, I32 y) { return _mm_add_epi32(sum, _mm_madd_epi16(x, y)); }
  static I32 max_i32(I32 x, I32 y) {
    __m128i greater = _mm_cmpgt_epi32(x, y);
    return _mm_or_si128(_mm_and_si128(greater, x), _mm_andnot_si128(greater, y));
  }
  static int32_t max_lane(I32 x) {
    I32 two = max_i32(x, _mm_shuffle_epi32(x, 0x4E));
    return _mm_cvtsi128_si32(max_i32(two, _mm_shuffle_epi32(two, 0xB1)));
  }
  static int32_t sum_lanes(I32 x) {
    I32 two = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
  }
  static I32 abs_bits(F32 x) { return _mm_and_si128(_mm_castps_si128(x), _mm_set1_epi32(0x7FFFFFFF)); }
  // The low bytes of the lanes.
  static void store_low_bytes(int8_t* p, I32 x) {
    __m128i words = _mm_packs_epi32(x, x);
    int32_t dword = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
    __builtin_memcpy(p, &dword, 4);
  }

  // Floats.
  static F32 zero() { return _mm_setzero_ps(); }
  static F32 set(float x) { return _mm_set1_ps(x); }
  static F32 load(const float* p) { return _mm_loadu_ps(p); }
  static F32 load_first(const float* p, int n) {
    alignas(16) float lanes[4] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return _mm_load_ps(lanes);
  }
  static void store(float* p, F32 x) { _mm_storeu_ps(p, x); }
  static void store_first(float* p, F32 x, int n) {
    alignas(16) float lanes[4];
    _mm_store_ps(lanes, x);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }
  static F32 mul(F32 x, F32 y) { return _mm_mul_ps(x, y); }
  static F32 add_f32(F32 x, F32 y) { return _mm_add_ps(x, y); }
  // maxps and minps: the second operand when either is NaN.
  static F32 max(F32 x, F32 y) { return _mm_max_ps(x, y); }
  static F32 min(F32 x, F32 y) { return _mm_min_ps(x, y); }
  static F32 fma(F32 x, F32 y, F32 z) {
    alignas(16) float a[4];
    alignas(16) float b[4];
    alignas(16) float c[4];
    _mm_store_ps(a, x);
    _mm_store_ps(b, y);
    _mm_store_ps(c, z);
    for (int i = 0; i < 4; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return _mm_load_ps(c);
  }
  static F32 to_f32(I32 x) { return _mm_cvtepi32_ps(x); }
  static I32 round_i32(F32 x) { return _mm_cvtps_epi32(x); }  // nearest, ties to even
  // The f16 in the low half of each dword.
  static F32 widen_f16(I32 x) {
    __m128i magnitude = _mm_and_si128(x, _mm_set1_epi32(0x7FFF));
    __m128i sign = _mm_slli_epi32(_mm_and_si128(x, _mm_set1_epi32(0x8000)), 16);
    __m128 scaled = _mm_mul_ps(_mm_castsi128_ps(_mm_slli_epi32(magnitude, 13)), _mm_set1_ps(0x1p112f));
    __m128i special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7BFF));  // infinity and NaN
    __m128i exponent = _mm_and_si128(special, _mm_set1_epi32(0x7F800000));
    return _mm_castsi128_ps(_mm_or_si128(_mm_or_si128(_mm_castps_si128(scaled), exponent), sign));
  }
  static F32 load_f16(const uint8_t* p) {
    return widen_f16(_mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), _mm_setzero_si128()));
  }
  // The low (odd = false) or high f16 of each of kLanes dwords.
  static F32 f16_of_pair(const uint8_t* p, bool odd) {
    __m128i dwords = load_u8(p);
    return widen_f16(odd ? _mm_srli_epi32(dwords, 16) : _mm_and_si128(dwords, _mm_set1_epi32(0xFFFF)));
  }
  static F32 bf16_of_pair(const uint8_t* p, bool odd) {
    __m128i dwords = load_u8(p);
    return _mm_castsi128_ps(odd ? _mm_andnot_si128(_mm_set1_epi32(0xFFFF), dwords) : _mm_slli_epi32(dwords, 16));
  }

  // isum[row][v] += sum over kDwords dwords of get(dword, v) (unsigned) * a[row * a_stride + 4 dword ..] (signed).
  // get gives values below 1 << kBits. The sum is exact.
  template <int kBits, int kDwords, int kRows, class Get>
  [[gnu::always_inline]] static void dot(I32 (&isum)[size_t{kRows}][size_t{kVecs}], const int8_t* a, int64_t a_stride,
                                         const Get& get) {
    unroll<kDwords>([&](auto dword) __attribute__((always_inline)) {
      unroll<kVecs>([&](auto v) __attribute__((always_inline)) {
        U8 weights = get(dword, v);
        __m128i low = _mm_unpacklo_epi8(weights, _mm_setzero_si128());
        __m128i high = _mm_unpackhi_epi8(weights, _mm_setzero_si128());
        unroll<kRows>([&](auto row) __attribute__((always_inline)) {
          int32_t quad = 0;
          __builtin_memcpy(&quad, a + row * a_stride + 4 * dword, 4);
          __m128i bytes = _mm_set1_epi32(quad);
          __m128i words = _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
          __m128 p0 = _mm_castsi128_ps(_mm_madd_epi16(low, words));
          __m128 p1 = _mm_castsi128_ps(_mm_madd_epi16(high, words));
          __m128i even = _mm_castps_si128(_mm_shuffle_ps(p0, p1, _MM_SHUFFLE(2, 0, 2, 0)));
          __m128i odd = _mm_castps_si128(_mm_shuffle_ps(p0, p1, _MM_SHUFFLE(3, 1, 3, 1)));
          isum[row][v] = _mm_add_epi32(isum[row][v], _mm_add_epi32(even, odd));
        });
      });
    });
  }
};

}  // namespace
}  // namespace millrace::kernels::generic
