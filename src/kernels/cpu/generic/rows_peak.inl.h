// The peak loops: independent multiply-add chains in registers, the yardstick of the GEMM kernels. Operands come from
// memory in each step and the compiler may not see what is there, so that no step is moved out of the loop.
// Included inside the anonymous namespace of a .cc, after Vec, IntAcc, int_step, kPeakChains and kIntMacs.
#pragma once

// Everything in memory may have changed.
inline void forget() { asm volatile("" ::: "memory"); }

inline int64_t peak_int8(int64_t n_rounds) {
  alignas(64) uint8_t weights[64];
  alignas(64) int8_t factors[4 * kPeakChains];
  for (int i = 0; i < 64; ++i) weights[i] = static_cast<uint8_t>(i % 15);
  for (int i = 0; i < 4 * kPeakChains; ++i) factors[i] = static_cast<int8_t>(i % 7 - 3);
  IntAcc acc[kPeakChains] = {};
  for (int64_t round = 0; round < n_rounds; ++round) {
    forget();
#pragma GCC unroll 12
    for (int i = 0; i < kPeakChains; ++i) acc[i] = int_step(acc[i], weights, factors + 4 * i);
  }
  IntAcc seen[kPeakChains];  // not acc: a pointer to acc would force it to memory in each round
#pragma GCC unroll 12
  for (int i = 0; i < kPeakChains; ++i) seen[i] = acc[i];
  asm volatile("" ::"r"(seen) : "memory");
  return n_rounds * kPeakChains * kIntMacs;
}

inline int64_t peak_f32(int64_t n_rounds) {
  float start[16 * kPeakChains];
  for (int i = 0; i < 16 * kPeakChains; ++i) start[i] = static_cast<float>(i);
  float factors[2] = {0.5f, 0.25f};  // x = x / 2 + 1/4 stays between 1/2 and its start
  forget();
  Vec acc[kPeakChains];
#pragma GCC unroll 12
  for (int i = 0; i < kPeakChains; ++i) acc[i] = load(start + 16 * i);
  Vec half = set1(factors[0]);
  Vec quarter = set1(factors[1]);
  for (int64_t round = 0; round < n_rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kPeakChains; ++i) acc[i] = fma(acc[i], half, quarter);
  }
#pragma GCC unroll 12
  for (int i = 0; i < kPeakChains; ++i) store(start + 16 * i, acc[i]);
  asm volatile("" ::"r"(start) : "memory");
  return n_rounds * kPeakChains * 16;
}
