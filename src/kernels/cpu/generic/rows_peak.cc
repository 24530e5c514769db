// The peak rates of the generic table: how fast its int8 and f32 multiply-adds can be at best.
// Everything but fill_peak has internal linkage.
// Thread: any.
#include <cstdint>

#include "kernels/cpu/generic/fill.h"

namespace millrace::kernels::generic {
namespace {

#include "kernels/cpu/generic/rows_simd.h"

constexpr int kPeakChains = 4;
constexpr int64_t kIntMacs = 64;
struct IntAcc {
  int32_t lane[16];
};
inline IntAcc int_step(IntAcc acc, const uint8_t* weights, const int8_t* factors) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 4; ++j) acc.lane[i] += weights[4 * i + j] * factors[j];
  }
  return acc;
}

#include "kernels/cpu/generic/rows_peak.inl.h"

}  // namespace

void fill_peak(KernelTable& table) {
  table.peak_int8 = peak_int8;
  table.peak_f32 = peak_f32;
}

}  // namespace millrace::kernels::generic
