// What attention needs beyond Vec: 16 int32 lanes, the two operand forms of KV blocks, and 16-bit float loads, here in
// plain C++. cpu/<isa>/attention_simd.h has the same names for other ISAs. Integer results are exact, so all agree.
//  1. A K operand is 16 tokens x 4 consecutive head values (u8 = k + 128); a V operand is 16 head values x 2 tokens
//  (s8).
//  2. Rounding to integers is to nearest, ties to even. NaN gives an arbitrary integer; its scale is NaN as well.
// Included inside the anonymous namespace of a .cc, after rows_math.inl.h.
#pragma once

constexpr int kTileRows = 4;    // query rows of the largest tile
constexpr int kTileVecs = 4;    // accumulators of one tile: rows x vectors
constexpr int kQWordBytes = 4;  // bytes of 4 packed values of q

struct IVec {
  int32_t lane[16];
};
struct Pairs {
  Vec even;
  Vec odd;
};
struct KBytes {
  const uint8_t* p;  // [16][4]
};
struct VPairs {
  int8_t value[16][2];
};

template <class Op>
IVec imap(Op op) {
  IVec r;
  for (int i = 0; i < 16; ++i) r.lane[i] = op(i);
  return r;
}
inline IVec iset1(int32_t x) {
  return imap([=](int) { return x; });
}
inline Vec to_float(const IVec& a) {
  return map1([&](int i) { return static_cast<float>(a.lane[i]); });
}
inline int32_t round_to_int(float x) {
  return static_cast<int32_t>(__builtin_bit_cast(uint32_t, x + kRoundMagic) - 0x4B400000u);
}
inline void store_i8(int8_t* p, const Vec& a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(round_to_int(a.lane[i]));
}
inline void store_i16(int16_t* p, const Vec& a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int16_t>(round_to_int(a.lane[i]));
}

// 16 pairs of bf16: (even, odd) of lane i at p[2 i]. Lanes from n on are not read.
inline Pairs load_bf16_pairs(const uint16_t* p, int64_t n) {
  auto widen = [=](int i, int odd) {
    return i < n ? __builtin_bit_cast(float, static_cast<uint32_t>(p[2 * i + odd]) << 16) : 0.0f;
  };
  return {map1([&](int i) { return widen(i, 0); }), map1([&](int i) { return widen(i, 1); })};
}
inline float f16_value(uint32_t h) {
  uint32_t sign = (h & 0x8000u) << 16;
  uint32_t exponent = h >> 10 & 31u;
  uint32_t mantissa = h & 0x3FFu;
  if (exponent == 31) return __builtin_bit_cast(float, sign | 0x7F800000u | mantissa << 13);
  if (exponent != 0) return __builtin_bit_cast(float, sign | (exponent + 112u) << 23 | mantissa << 13);
  float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}
inline Vec load_f16(const uint16_t* p) {
  return map1([=](int i) { return f16_value(p[i]); });
}

inline KBytes load_k(const uint8_t* p) { return {p}; }
inline void pack_q_word(uint8_t* word, const int8_t* q) {
  for (int i = 0; i < 4; ++i) word[i] = static_cast<uint8_t>(q[i]);
}
// acc[token] += sum over 4 values of k * q
inline IVec dot_k(const IVec& acc, const KBytes& k, const uint8_t* word) {
  return imap([&](int i) {
    int32_t sum = acc.lane[i];
    for (int j = 0; j < 4; ++j) sum += k.p[4 * i + j] * static_cast<int8_t>(word[j]);
    return sum;
  });
}
// Lanes from n on are not read.
inline VPairs load_v(const int8_t* p, int64_t n) {
  VPairs v;
  for (int i = 0; i < 16; ++i) {
    v.value[i][0] = i < n ? p[2 * i] : static_cast<int8_t>(0);
    v.value[i][1] = i < n ? p[2 * i + 1] : static_cast<int8_t>(0);
  }
  return v;
}
// acc[d] += v[d][0] * p[0] + v[d][1] * p[1]
inline IVec dot_v(const IVec& acc, const VPairs& v, const int16_t* p) {
  return imap([&](int i) { return acc.lane[i] + v.value[i][0] * p[0] + v.value[i][1] * p[1]; });
}
