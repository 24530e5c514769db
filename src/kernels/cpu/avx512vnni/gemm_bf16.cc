// bf16 GEMM by vdpbf16ps, form B: acc = dpbf16(acc, w pair, a pair), pairs of k ascending, the same for every number
// of rows. The instruction flushes denormals and rounds in its own way, so its bits hold inside this family only.
// Built with its own flag; used only where cpuid has avx512_bf16. Thread: any.
#include "kernels/cpu/avx512vnni/fill.h"
#include "kernels/cpu/avx512vnni/gemm_simd.h"
#include "kernels/cpu/generic/gemm.inl.h"

namespace millrace::kernels::avx512vnni {
namespace {

template <class S, class, int kRows>
struct TileB {
  static void run(const generic::GemmTile& tile) {
    const int64_t k = tile.args->k;
    const int64_t k_pad = (k + 31) / 32 * 32;
    const auto* a = static_cast<const uint16_t*>(tile.args->act.data) + tile.row * k_pad;
    generic::GridF<S, kRows> acc;
    unroll<kRows>([&](auto row) __attribute__((always_inline)) {
      unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) { acc[row][v] = S::zero(); });
    });
    for (int64_t i = 0; i < (k + 1) / 2; ++i) {
      __m512i w[S::kVecs];
      unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) {
        w[v] = S::load_u8(tile.panel + i * 128 + (tile.lane + v * S::kLanes) * 4);
      });
      unroll<kRows>([&](auto row) __attribute__((always_inline)) {
        int32_t pair = 0;
        __builtin_memcpy(&pair, a + row * k_pad + 2 * i, 4);
        auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
        unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) {
          acc[row][v] = _mm512_dpbf16_ps(acc[row][v], reinterpret_cast<__m512bh>(w[v]), x);
        });
      });
    }
    generic::store_tile<S, kRows>(tile, acc);
  }
};

struct NoSource {};

}  // namespace

void fill_gemm_bf16(KernelTable& table) {
  table.act_kind[static_cast<int>(tensor::Format::kBF16)] = ActKind::kBF16;
  table.gemm[static_cast<int>(tensor::Format::kBF16)] = generic::GemmOf<GemmSimd, NoSource, TileB, 2, 128, 2>::run;
  table.bf16_family = "vdpbf16ps";
}

}  // namespace millrace::kernels::avx512vnni
