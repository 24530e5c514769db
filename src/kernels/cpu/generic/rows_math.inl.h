// exp, exp2 and tanh over Vec: polynomials of our own, so that every ISA and libm version gives the same bits.
// The coefficients are minimax fits (weighted least squares iterated to equal ripple, rounded to f32):
//   e^r = 1 + r + r^2 q(r), |r| <= ln(2)/2, error 3e-9;  2^f = 1 + f q(f), |f| <= 1/2, error 2e-9;
//   tanh(y) = y + y^3 q(y^2), |y| <= 0.625, error 4e-9; erf(y) = y q(y^2), |y| <= 1, error 2e-9; erfc(y) = e^(-y^2)
//   q(t), t = 1 / (1 + y/2), y > 1, error 6e-9. Errors are relative, before f32 rounding.
// Included inside the anonymous namespace of a .cc, after rows_simd.h.
#pragma once

constexpr float kLog2E = 0x1.715476p+0f;
constexpr float kRoundMagic = 0x1.8p+23f;  // x + kRoundMagic holds round(x), ties to even, in its low bits
constexpr float kInfinity = __builtin_inff();

// 2^x; 0 below -150, infinity from 128. NaN stays NaN: the bounds are the first operands of max and min.
inline Vec exp2_vec(Vec x) {
  x = min(set1(129.0f), max(set1(-151.0f), x));
  Vec t = add(x, set1(kRoundMagic));
  Vec f = sub(x, sub(t, set1(kRoundMagic)));
  Vec q = set1(0x1.41fb2cp-13f);
  q = fma(q, f, set1(0x1.5f3f32p-10f));
  q = fma(q, f, set1(0x1.3b2d50p-7f));
  q = fma(q, f, set1(0x1.c6aee6p-5f));
  q = fma(q, f, set1(0x1.ebfbdcp-3f));
  q = fma(q, f, set1(0x1.62e430p-1f));
  return scale_pow2(fma(q, f, set1(1.0f)), t);
}

// e^x; 0 below -104, infinity from 88.73.
inline Vec exp_vec(Vec x) {
  x = min(set1(89.0f), max(set1(-105.0f), x));
  Vec t = fma(x, set1(kLog2E), set1(kRoundMagic));
  Vec n = sub(t, set1(kRoundMagic));
  Vec r = fma(n, set1(-0x1.62e430p-1f), x);  // ln 2 in two parts
  r = fma(n, set1(0x1.05c610p-29f), r);
  Vec q = set1(0x1.6a23ccp-10f);
  q = fma(q, r, set1(0x1.123a20p-7f));
  q = fma(q, r, set1(0x1.5558f2p-5f));
  q = fma(q, r, set1(0x1.555492p-3f));
  q = fma(q, r, set1(0x1.fffffcp-2f));
  return scale_pow2(add(fma(mul(r, r), q, r), set1(1.0f)), t);
}

inline Vec tanh_vec(Vec y) {
  Vec z = mul(y, y);
  Vec q = set1(-0x1.75e1dcp-8f);
  q = fma(q, z, set1(0x1.52269ep-6f));
  q = fma(q, z, set1(-0x1.b83c5ap-5f));
  q = fma(q, z, set1(0x1.110726p-3f));
  q = fma(q, z, set1(-0x1.555532p-2f));
  Vec small = fma(mul(z, y), q, y);
  Vec large = sub(set1(1.0f), div(set1(2.0f), add(exp_vec(add(y, y)), set1(1.0f))));
  return select(ge(abs(y), set1(0.625f)), large, small);
}

// The normal distribution function: erfc(-x / sqrt 2) / 2. Left of 0 the small value is computed itself.
inline Vec phi_vec(Vec x) {
  Vec y = mul(abs(x), set1(0x1.6a09e6p-1f));
  Vec z = mul(y, y);
  Vec q = set1(0x1.496856p-14f);
  q = fma(q, z, set1(-0x1.a3f660p-11f));
  q = fma(q, z, set1(0x1.54059ep-8f));
  q = fma(q, z, set1(-0x1.b7f90ap-6f));
  q = fma(q, z, set1(0x1.ce2cf8p-4f));
  q = fma(q, z, set1(-0x1.81273ep-2f));
  q = fma(q, z, set1(0x1.20dd74p+0f));
  Vec half = set1(0.5f);
  Vec near = mul(mul(y, q), half);  // erf(y) / 2
  Vec t = div(set1(1.0f), fma(y, half, set1(1.0f)));
  Vec c = set1(0x1.4b4ffcp-4f);
  c = fma(c, t, set1(-0x1.7aefa0p-3f));
  c = fma(c, t, set1(0x1.9a4e1ap-6f));
  c = fma(c, t, set1(0x1.af88d0p-4f));
  c = fma(c, t, set1(0x1.43a858p-3f));
  c = fma(c, t, set1(0x1.030a44p-2f));
  c = fma(c, t, set1(0x1.1fbbfcp-2f));
  c = fma(c, t, set1(0x1.20f8e4p-2f));
  c = fma(c, t, set1(-0x1.136e1ep-18f));
  Vec tail = mul(mul(exp_vec(neg(z)), c), half);  // erfc(y) / 2
  Mask far = ge(y, set1(1.0f));
  Vec right = select(far, sub(set1(1.0f), tail), add(half, near));
  Vec left = select(far, tail, sub(half, near));
  return select(ge(x, set1(0.0f)), right, left);
}
