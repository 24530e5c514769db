// Compile-time loops over register arrays, and what keeps sums in their registers: unroll<3>(f) calls f(Index<0>{}),
// f(Index<1>{}), f(Index<2>{}). A register array indexed only by these stays in registers. Everything is inlined, so no
// symbol is left behind. Thread: any.
#pragma once

#include <utility>

namespace millrace::kernels::generic {

template <int I>
struct Index {
  [[gnu::always_inline]] constexpr operator int() const { return I; }  // NOLINT(google-explicit-constructor)
};

template <class F, int... I>
[[gnu::always_inline]] inline void call_each(const F& f, std::integer_sequence<int, I...>) {
  (f(Index<I>{}), ...);
}

template <int N, class F>
[[gnu::always_inline]] inline void unroll(const F& f) {
  call_each(f, std::make_integer_sequence<int, N>{});
}

// A sum of integer vectors as it is so far. Left to itself the compiler adds the terms of unrolled loops in a tree,
// with all of them in registers or spilt to memory.
template <class V>
[[gnu::always_inline]] inline V settled(V sum) {
  asm("" : "+v"(sum));
  return sum;
}

}  // namespace millrace::kernels::generic
