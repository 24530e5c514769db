// The row operations of ops.h, written once over Vec and compiled in each ISA folder. Element i of a reduction goes to
// lane i % 16, ascending; a tail adds exact zeros to the other lanes.
//  1. out may be the same row as x (or gate); no call reads or writes beyond n values.
//  2. All tables give the same bits: only the exact operations of rows_simd.h are used.
// Included inside the anonymous namespace of a .cc, after rows_simd.h and rows_math.inl.h.
#pragma once

// body(vector of x at i, lanes valid) for a row of n values.
template <class Body>
void for_vectors(int64_t n, Body body) {
  for (int64_t i = 0; i < n; i += 16) body(i, n - i < 16 ? n - i : 16);
}

void rms_norm(float* out, const float* x, const float* weight, float eps, int64_t n) {
  Vec sum = set1(0.0f);
  for_vectors(n, [&](int64_t i, int64_t valid) {
    Vec v = load_n(x + i, valid);
    sum = fma(v, v, sum);
  });
  float inverse = 1.0f / sqrt1(reduce_add(sum) / static_cast<float>(n) + eps);
  Vec factor = set1(inverse);
  for_vectors(n, [&](int64_t i, int64_t valid) {
    store_n(out + i, mul(mul(load_n(x + i, valid), factor), load_n(weight + i, valid)), valid);
  });
}

void layer_norm(float* out, const float* x, const LayerNormArgs& args) {
  Vec sum = set1(0.0f);
  for_vectors(args.n, [&](int64_t i, int64_t valid) { sum = add(sum, load_n(x + i, valid)); });
  Vec mean = set1(reduce_add(sum) / static_cast<float>(args.n));
  Vec squares = set1(0.0f);
  for_vectors(args.n, [&](int64_t i, int64_t valid) {
    Vec v = sub(load_n(x + i, valid), mean);
    if (valid < 16) v = select(lanes(0, static_cast<int>(valid)), v, set1(0.0f));
    squares = fma(v, v, squares);
  });
  Vec factor = set1(1.0f / sqrt1(reduce_add(squares) / static_cast<float>(args.n) + args.eps));
  for_vectors(args.n, [&](int64_t i, int64_t valid) {
    Vec v = mul(sub(load_n(x + i, valid), mean), factor);
    store_n(out + i, fma(v, load_n(args.weight + i, valid), load_n(args.bias + i, valid)), valid);
  });
}

void rope_half(float* x, const float* cos, const float* sin, int64_t rope_dims) {
  int64_t half = rope_dims / 2;
  for_vectors(half, [&](int64_t i, int64_t valid) {
    Vec a = load_n(x + i, valid);
    Vec b = load_n(x + half + i, valid);
    Vec c = load_n(cos + i, valid);
    Vec s = load_n(sin + i, valid);
    store_n(x + i, fma(a, c, neg(mul(b, s))), valid);
    store_n(x + half + i, fma(b, c, mul(a, s)), valid);
  });
}

void rope_pairs(float* x, const float* cos, const float* sin, int64_t rope_dims) {
  const float signs[16] = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};
  Vec sign = load(signs);
  for (int64_t i = 0; i + 1 < rope_dims; i += 16) {
    int64_t pairs = (rope_dims - i) / 2;
    const float* c = cos + i / 2;
    const float* s = sin + i / 2;
    float last_c[8] = {};
    float last_s[8] = {};
    if (pairs < 8) {
      for (int64_t j = 0; j < pairs; ++j) {
        last_c[j] = c[j];
        last_s[j] = s[j];
      }
      c = last_c;
      s = last_s;
    }
    Vec v = load_n(x + i, 2 * pairs);
    Vec turned = mul(mul(swapped<1>(v), load_twice(s)), sign);
    store_n(x + i, fma(v, load_twice(c), turned), 2 * pairs);
  }
}

// g / (1 + e^-g) * u
void silu_mul(float* out, const float* gate, const float* up, int64_t n) {
  Vec one = set1(1.0f);
  for_vectors(n, [&](int64_t i, int64_t valid) {
    Vec g = load_n(gate + i, valid);
    Vec y = div(g, add(one, exp_vec(neg(g))));
    store_n(out + i, mul(y, load_n(up + i, valid)), valid);
  });
}

// 0.5 g (1 + tanh(w)) u = g / (1 + e^-2w) u, w = sqrt(2/pi) (g + 0.044715 g^3)  (Hendrycks and Gimpel, arXiv
// 1606.08415)
void gelu_mul(float* out, const float* gate, const float* up, int64_t n) {
  Vec one = set1(1.0f);
  for_vectors(n, [&](int64_t i, int64_t valid) {
    Vec g = load_n(gate + i, valid);
    Vec inner = mul(g, fma(mul(g, g), set1(0.044715f), one));
    Vec y = div(g, add(one, exp_vec(mul(inner, set1(-1.5957691216057308f)))));
    store_n(out + i, mul(y, load_n(up + i, valid)), valid);
  });
}

void gelu_row(float* out, const float* x, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t valid) {
    Vec v = load_n(x + i, valid);
    store_n(out + i, mul(v, phi_vec(v)), valid);
  });
}

void add_row(float* out, const float* x, int64_t n) {
  for_vectors(
      n, [&](int64_t i, int64_t valid) { store_n(out + i, add(load_n(out + i, valid), load_n(x + i, valid)), valid); });
}

void scale_row(float* x, float factor, int64_t n) {
  Vec f = set1(factor);
  for_vectors(n, [&](int64_t i, int64_t valid) { store_n(x + i, mul(load_n(x + i, valid), f), valid); });
}

void softcap_row(float* x, float cap, int64_t n) {
  Vec c = set1(cap);
  for_vectors(n,
              [&](int64_t i, int64_t valid) { store_n(x + i, mul(c, tanh_vec(div(load_n(x + i, valid), c))), valid); });
}

ArgMax argmax_row(const float* x, int64_t n) {
  Vec best = set1(-kInfinity);
  uint32_t nan_bits = 0;
  for_vectors(n, [&](int64_t i, int64_t valid) {
    Vec v = load_n(x + i, valid);
    nan_bits |= bits(is_nan(v));
    if (valid < 16) v = select(lanes(0, static_cast<int>(valid)), v, set1(-kInfinity));
    best = max(best, v);
  });
  float value = reduce_max(best);
  if (nan_bits != 0 || n <= 0) return ArgMax{__builtin_nanf(""), -1};
  Vec wanted = set1(value);
  for (int64_t i = 0; i < n; i += 16) {
    int64_t valid = n - i < 16 ? n - i : 16;
    uint32_t hit = bits(eq(load_n(x + i, valid), wanted)) & ((1u << valid) - 1u);
    if (hit != 0) {
      int64_t index = i + __builtin_ctz(hit);
      return ArgMax{x[index], static_cast<int32_t>(index)};
    }
  }
  return ArgMax{value, -1};
}

float exp_sum_row(const float* x, float max_value, int64_t n) {
  Vec offset = set1(max_value);
  Vec sum = set1(0.0f);
  for_vectors(n, [&](int64_t i, int64_t valid) {
    Vec p = exp_vec(sub(load_n(x + i, valid), offset));
    if (valid < 16) p = select(lanes(0, static_cast<int>(valid)), p, set1(0.0f));
    sum = add(sum, p);
  });
  return reduce_add(sum);
}

void exp_row(float* out, const float* x, float max_value, int64_t n) {
  Vec offset = set1(max_value);
  for_vectors(n,
              [&](int64_t i, int64_t valid) { store_n(out + i, exp_vec(sub(load_n(x + i, valid), offset)), valid); });
}

int64_t select_above(int32_t* out, const float* x, float threshold, int64_t n, int64_t capacity) {
  Vec bound = set1(threshold);
  int64_t count = 0;
  for_vectors(n, [&](int64_t i, int64_t valid) {
    uint32_t hit = bits(ge(load_n(x + i, valid), bound)) & ((1u << valid) - 1u);
    for (; hit != 0; hit &= hit - 1u) {
      if (count < capacity) out[count] = static_cast<int32_t>(i + __builtin_ctz(hit));
      ++count;
    }
  });
  return count;
}

void fill_rows_table(KernelTable& table) {
  table.rms_norm = rms_norm;
  table.layer_norm = layer_norm;
  table.rope_half = rope_half;
  table.rope_pairs = rope_pairs;
  table.silu_mul = silu_mul;
  table.gelu_mul = gelu_mul;
  table.gelu = gelu_row;
  table.add = add_row;
  table.scale = scale_row;
  table.softcap = softcap_row;
  table.argmax = argmax_row;
  table.exp_sum = exp_sum_row;
  table.exp = exp_row;
  table.select_above = select_above;
}
