#include "kernels/probe.h"

#include <gtest/gtest.h>

#include "kernels/cpu/detect.h"
#include "kernels/pick.h"

namespace millrace::kernels {
namespace {

TEST(KernelProbeTest, EveryTableHasARate) {
  device::ThreadPool pool(2, false);
  CpuFeatures cpu = detect_cpu();
  for (const auto& row : isa_rows()) {
    if (!row.missing(cpu).empty()) continue;
    const KernelTable& table = row.table(cpu);
    double int8 = probe_int8(pool, table, 0.01);
    double f32 = probe_f32(pool, table, 0.01);
    EXPECT_GT(int8, 0);
    EXPECT_GT(f32, 0);
    EXPECT_LT(int8, 1e5);  // a loop the compiler has emptied would show thousands of times more
    EXPECT_LT(f32, 1e5);
    RecordProperty(std::string(row.name) + "_int8_gmacs", std::to_string(int8));
    RecordProperty(std::string(row.name) + "_f32_gmacs", std::to_string(f32));
  }
}

}  // namespace
}  // namespace millrace::kernels
