// The layout of one (layer, KV head) piece of a block of 32 tokens, and the writers of one token into it.
//   bf16: K [2 halves][hd2][16 tokens][2], V [16 token pairs][hd][2];  hd2 = ceil(hd / 2)
//   int8: K [hd4][32 tokens][4] u8 (k + 128) + f16 scale[32], V [16 token pairs][hd][2] s8 + f16 scale[32]; hd4 =
//   ceil(hd / 4)
// K of an int8 block is rotated before it is quantised, and so is q before it meets it: their product stays, and what
// a few large values of a head cost the others is spread over all (docs/proofs.md, "KL divergence").
// An int8 scale is amax / 127 rounded to f16; a NaN or infinity in k or v makes its scale NaN, so it is not hidden.
// Included inside the anonymous namespace of a .cc, after attention_simd.h.
#pragma once

inline int64_t bf16_k_bytes(int64_t head_dim) { return (head_dim + 1) / 2 * 128; }
inline int64_t int8_k_bytes(int64_t head_dim) { return (head_dim + 3) / 4 * 128; }        // without scales
inline int64_t int8_v_bytes(int64_t head_dim) { return (head_dim * 32 + 63) / 64 * 64; }  // without scales

// To nearest, ties to even; NaN stays NaN.
inline uint16_t bf16_bits(float x) {
  auto b = __builtin_bit_cast(uint32_t, x);
  uint32_t rounded = (b + 0x7FFFu + (b >> 16 & 1u)) >> 16;
  uint32_t nan = b >> 16 | 0x40u;
  return static_cast<uint16_t>((b & 0x7FFFFFFFu) > 0x7F800000u ? nan : rounded);
}

// x >= 0 or NaN. To nearest, ties to even; at most 65504.
inline uint16_t f16_bits_of_scale(float x) {
  auto b = __builtin_bit_cast(uint32_t, x);
  if (x != x) return 0x7E00;
  if (b >= 0x477FE000u) return 0x7BFF;  // 65504 and more
  if (b >= 0x38800000u) return static_cast<uint16_t>((b - 0x38000000u + 0xFFFu + (b >> 13 & 1u)) >> 13);
  float units = x * 0x1p+24f + kRoundMagic;  // subnormal: multiples of 2^-24
  return static_cast<uint16_t>(__builtin_bit_cast(uint32_t, units) - 0x4B400000u);
}
inline float f16_scale_value(uint16_t h) {
  alignas(32) uint16_t all[16] = {h};
  float out[16];
  store(out, load_f16(all));
  return out[0];
}

// The greatest |x[i]|, or NaN when a value is NaN or infinite.
inline float amax_or_nan(const float* x, int64_t n) {
  Vec most = set1(0.0f);
  Vec broken = set1(0.0f);
  for (int64_t i = 0; i < n; i += 16) {
    Vec v = load_n(x + i, n - i);
    most = max(most, abs(v));
    broken = fma(v, set1(0.0f), broken);
  }
  return reduce_max(most) + __builtin_fabsf(reduce_add(broken));
}

constexpr int64_t kBf16Piece = 16;  // one Vec

// bits[i] of x[i], i < 16; those from n_left on are of no use.
inline void bf16_piece(uint16_t* bits, const float* x, int64_t n_left) {
  float padded[kBf16Piece] = {};
  store(padded, load_n(x, n_left));
  for (int64_t i = 0; i < kBf16Piece; ++i) bits[i] = bf16_bits(padded[i]);  // no branch: becomes vectors
}

inline void kv_write_bf16(const KvWriteArgs& args) {
  int64_t head_dim = args.head_dim;
  auto* k = reinterpret_cast<uint16_t*>(args.head) + args.token / 16 * ((head_dim + 1) / 2) * 32 + args.token % 16 * 2;
  uint16_t bits[kBf16Piece];
  for (int64_t from = 0; from < head_dim; from += kBf16Piece) {
    bf16_piece(bits, args.k + from, head_dim - from);
    for (int64_t i = 0; i < kBf16Piece && from + i < head_dim; ++i) k[(from + i) / 2 * 32 + i % 2] = bits[i];
  }
  auto* v =
      reinterpret_cast<uint16_t*>(args.head + bf16_k_bytes(head_dim)) + args.token / 2 * head_dim * 2 + args.token % 2;
  for (int64_t from = 0; from < head_dim; from += kBf16Piece) {
    bf16_piece(bits, args.v + from, head_dim - from);
    for (int64_t i = 0; i < kBf16Piece && from + i < head_dim; ++i) v[2 * (from + i)] = bits[i];
  }
}

constexpr int64_t kMostRotated = 64;
constexpr int64_t kMostHeadDim = 1024;  // that a model may have (src/weights/model_desc_rules.h)

// Lanes i and i ^ kDistance: their sum in the lower one, their difference in the upper one.
template <int kDistance>
Vec butterfly(Vec x) {
  float sign[16];
  for (int i = 0; i < 16; ++i) sign[i] = (i & kDistance) != 0 ? -1.0f : 1.0f;
  return fma(x, load(sign), swapped<kDistance>(x));
}

// out [n] = x [n] times the orthonormal Hadamard matrix (Sylvester's order) of the largest power of two up to 64 that
// divides n, block by block; out is not x.
inline void rotate_row(float* out, const float* x, int64_t n) {
  int64_t block = n & -n;
  block = block < kMostRotated ? block : kMostRotated;
  Vec unit = set1(1.0f / sqrt1(static_cast<float>(block)));
  for (int64_t i = 0; i < n; i += 16) {
    Vec v = load_n(x + i, n - i);
    if (block > 1) v = butterfly<1>(v);
    if (block > 2) v = butterfly<2>(v);
    if (block > 4) v = butterfly<4>(v);
    if (block > 8) v = butterfly<8>(v);
    store_n(out + i, mul(v, unit), n - i);
  }
  for (int64_t distance = 16; distance < block; distance *= 2) {
    for (int64_t i = 0; i < n; i += 16) {
      if ((i & distance) != 0) continue;
      Vec low = load(out + i);
      Vec high = load(out + i + distance);
      store(out + i, add(low, high));
      store(out + i + distance, sub(low, high));
    }
  }
}

// Writes the f16 scale of x and gives 1 / scale (0 for a zero or NaN scale: the quants are then 0).
inline float write_scale(uint16_t* scale, const float* x, int64_t n) {
  *scale = f16_bits_of_scale(amax_or_nan(x, n) / 127.0f);
  float d = f16_scale_value(*scale);
  return d > 0 ? 1.0f / d : 0.0f;
}

inline void kv_write_int8(const KvWriteArgs& args) {
  int64_t head_dim = args.head_dim;
  uint8_t* k = args.head + args.token * 4;
  auto* v = reinterpret_cast<int8_t*>(args.head + int8_k_bytes(head_dim) + 64) + args.token / 2 * head_dim * 2 +
            args.token % 2;
  auto* k_scale = reinterpret_cast<uint16_t*>(args.head + int8_k_bytes(head_dim)) + args.token;
  auto* v_scale =
      reinterpret_cast<uint16_t*>(args.head + int8_k_bytes(head_dim) + 64 + int8_v_bytes(head_dim)) + args.token;
  alignas(64) float rotated[kMostHeadDim];
  rotate_row(rotated, args.k, head_dim);
  Vec k_inverse = set1(write_scale(k_scale, rotated, head_dim));
  Vec v_inverse = set1(write_scale(v_scale, args.v, head_dim));
  auto clamped = [](Vec x) { return min(set1(127.0f), max(set1(-127.0f), x)); };
  for (int64_t d = 0; d < head_dim; d += 16) {
    int8_t q[16];
    int64_t valid = head_dim - d < 16 ? head_dim - d : 16;
    store_i8(q, clamped(mul(load_n(rotated + d, valid), k_inverse)));
    for (int64_t i = 0; i < (valid + 3) / 4 * 4; ++i) {
      k[(d + i) / 4 * 128 + i % 4] = static_cast<uint8_t>(q[i] + 128);
    }
    store_i8(q, clamped(mul(load_n(args.v + d, valid), v_inverse)));
    for (int64_t i = 0; i < valid; ++i) v[2 * (d + i)] = q[i];
  }
}
