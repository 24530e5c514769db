// Vec: 16 f32 lanes, the unit of every row operation, here in plain C++ for any CPU. cpu/<isa>/rows_simd.h has the same
// names for other ISAs; each function gives the same bits in all of them.
//  1. Included inside the anonymous namespace of a .cc, so that nothing has external linkage. No includes here.
//  2. fma is always fused and never implied; max and min are "a > b ? a : b" and "a < b ? a : b", like maxps and minps.
//  3. Reductions fold halves: lane i with i + 8, then + 4, + 2, + 1.
#pragma once

struct Vec {
  float lane[16];
};
using Mask = uint32_t;  // bit i = lane i

template <class Op>
Vec map1(Op op) {
  Vec r;
  for (int i = 0; i < 16; ++i) r.lane[i] = op(i);
  return r;
}

inline Vec set1(float x) {
  return map1([=](int) { return x; });
}
inline Vec load(const float* p) {
  return map1([=](int i) { return p[i]; });
}
// Lanes from n on are 0 and not read.
inline Vec load_n(const float* p, int64_t n) {
  return map1([=](int i) { return i < n ? p[i] : 0.0f; });
}
inline void store(float* p, const Vec& a) {
  for (int i = 0; i < 16; ++i) p[i] = a.lane[i];
}
inline void store_n(float* p, const Vec& a, int64_t n) {
  for (int i = 0; i < 16 && i < n; ++i) p[i] = a.lane[i];
}
inline Vec add(const Vec& a, const Vec& b) {
  return map1([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline Vec sub(const Vec& a, const Vec& b) {
  return map1([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline Vec mul(const Vec& a, const Vec& b) {
  return map1([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline Vec div(const Vec& a, const Vec& b) {
  return map1([&](int i) { return a.lane[i] / b.lane[i]; });
}
inline Vec fma(const Vec& a, const Vec& b, const Vec& c) {  // a * b + c
  return map1([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
}
inline Vec neg(const Vec& a) {
  return map1([&](int i) { return -a.lane[i]; });
}
inline Vec abs(const Vec& a) {
  return map1([&](int i) { return __builtin_fabsf(a.lane[i]); });
}
inline Vec max(const Vec& a, const Vec& b) {
  return map1([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline Vec min(const Vec& a, const Vec& b) {
  return map1([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}

template <class Op>
Mask map_mask(Op op) {
  Mask r = 0;
  for (uint32_t i = 0; i < 16; ++i) r |= op(i) ? 1u << i : 0u;
  return r;
}
inline Mask ge(const Vec& a, const Vec& b) {
  return map_mask([&](uint32_t i) { return a.lane[i] >= b.lane[i]; });
}
inline Mask eq(const Vec& a, const Vec& b) {
  return map_mask([&](uint32_t i) { return a.lane[i] == b.lane[i]; });
}
inline Mask is_nan(const Vec& a) {
  return map_mask([&](uint32_t i) { return a.lane[i] != a.lane[i]; });
}
// Lanes lo <= i < hi.
inline Mask lanes(int lo, int hi) {
  return map_mask([=](uint32_t i) { return static_cast<int>(i) >= lo && static_cast<int>(i) < hi; });
}
inline Vec select(Mask m, const Vec& a, const Vec& b) {  // m ? a : b
  return map1([&](int i) { return (m >> i & 1u) != 0 ? a.lane[i] : b.lane[i]; });
}
inline uint32_t bits(Mask m) { return m; }

template <class Op>
float fold(Vec a, Op op) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.lane[i] = op(a.lane[i], a.lane[i + half]);
  }
  return a.lane[0];
}
inline float reduce_add(const Vec& a) {
  return fold(a, [](float x, float y) { return x + y; });
}
inline float reduce_max(const Vec& a) {
  return fold(a, [](float x, float y) { return x > y ? x : y; });
}
inline float sqrt1(float x) { return __builtin_sqrtf(x); }

// Lane i holds what lane i ^ kDistance held; kDistance 1, 2, 4 or 8.
template <int kDistance>
Vec swapped(const Vec& a) {
  return map1([&](int i) { return a.lane[i ^ kDistance]; });
}
// (p0, p0, p1, p1, ..., p7, p7)
inline Vec load_twice(const float* p) {
  return map1([=](int i) { return p[i / 2]; });
}

// p * 2^n for the integer n held in the low bits of t = n + 1.5 * 2^23; exact but for one rounding of tiny results.
inline Vec scale_pow2(const Vec& p, const Vec& t) {
  return map1([&](int i) {
    int32_t n = static_cast<int32_t>(__builtin_bit_cast(uint32_t, t.lane[i]) - 0x4B400000u);
    int32_t first = n >> 1;
    uint32_t low = (static_cast<uint32_t>(first) + 127u) << 23;
    uint32_t high = (static_cast<uint32_t>(n) - static_cast<uint32_t>(first) + 127u) << 23;
    return p.lane[i] * __builtin_bit_cast(float, low) * __builtin_bit_cast(float, high);
  });
}
