// The choice of the kernel table: order, forcing, refusals, and that every table a CPU can get is complete.
#include "kernels/pick.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace::kernels {
namespace {

CpuFeatures v3_cpu() {
  CpuFeatures cpu;
  cpu.name = "test cpu";
  cpu.avx2 = cpu.fma = cpu.f16c = cpu.bmi = true;
  return cpu;
}

CpuFeatures v4_cpu() {
  CpuFeatures cpu = v3_cpu();
  cpu.avx512f = cpu.avx512bw = cpu.avx512dq = cpu.avx512vl = cpu.avx512vnni = true;
  return cpu;
}

// A row's table may only be built on a CPU that has the row.
bool host_runs(std::string_view name) {
  for (const IsaRow& row : isa_rows()) {
    if (row.name == name) return row.missing(detect_cpu()).empty();
  }
  return false;
}

// What these tests can check on a machine without the row: its tables are code that this CPU must not run.
void expect_refused_here(std::string_view name) {
  EXPECT_EQ(pick_kernels(detect_cpu(), name).error().code, ErrorCode::kResource);
}

TEST(Pick, TakesTheBestRowTheCpuHas) {
  if (!host_runs("avx512vnni")) return expect_refused_here("avx512vnni");
  EXPECT_STREQ(pick_kernels(v4_cpu(), "").value()->name, "avx512vnni");
  EXPECT_STREQ(pick_kernels(v3_cpu(), "").value()->name, "avx2");
  CpuFeatures half = v4_cpu();
  half.avx512vnni = false;
  EXPECT_STREQ(pick_kernels(half, "").value()->name, "avx2");
}

TEST(Pick, ForcesALowerRow) {
  if (!host_runs("avx512vnni")) return expect_refused_here("avx512vnni");
  EXPECT_STREQ(pick_kernels(v4_cpu(), "avx2").value()->name, "avx2");
  EXPECT_STREQ(pick_kernels(v4_cpu(), "generic").value()->name, "generic");
  EXPECT_STREQ(pick_kernels(CpuFeatures{}, "generic").value()->name, "generic");
}

TEST(Pick, UsesTheBf16InstructionOnlyWhereItExists) {
  if (!host_runs("avx512vnni")) return expect_refused_here("avx512vnni");
  CpuFeatures cpu = v4_cpu();
  EXPECT_STREQ(pick_kernels(cpu, "").value()->bf16_family, "f32");
  cpu.avx512bf16 = true;
  EXPECT_STREQ(pick_kernels(cpu, "").value()->bf16_family, "vdpbf16ps");
  EXPECT_STREQ(pick_kernels(cpu, "avx2").value()->bf16_family, "f32");
}

TEST(Pick, NamesWhatIsMissing) {
  CpuFeatures cpu = v3_cpu();
  cpu.fma = false;
  Result<const KernelTable*> refused = pick_kernels(cpu, "");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kResource);
  EXPECT_NE(refused.error().message.find("lacks fma;"), std::string::npos) << refused.error().message;
  Result<const KernelTable*> forced = pick_kernels(v3_cpu(), "avx512vnni");
  ASSERT_FALSE(forced.ok());
  EXPECT_EQ(forced.error().code, ErrorCode::kResource);
  EXPECT_NE(forced.error().message.find("lacks avx512f, avx512bw, avx512dq, avx512vl, avx512vnni"), std::string::npos);
  Result<const KernelTable*> unknown = pick_kernels(v4_cpu(), "sse9");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, ErrorCode::kUsage);
  EXPECT_NE(unknown.error().message.find("avx512vnni, avx2, generic"), std::string::npos);
}

TEST(Pick, ThisMachineRuns) {
  CpuFeatures cpu = detect_cpu();
  EXPECT_FALSE(cpu.name.empty());
  Result<const KernelTable*> picked = pick_kernels(cpu, "");
  if (!picked.ok()) picked = pick_kernels(cpu, "generic");
  EXPECT_TRUE(picked.ok());
}

TEST(Tables, HaveEverySlot) {
  CpuFeatures bf16_cpu = v4_cpu();
  bf16_cpu.avx512bf16 = true;
  for (const CpuFeatures& cpu : {v3_cpu(), v4_cpu(), bf16_cpu}) {
    for (const IsaRow& row : isa_rows()) {
      if (!row.missing(cpu).empty() || !host_runs(row.name)) continue;
      const KernelTable& table = row.table(cpu);
      SCOPED_TRACE(testing::Message() << table.name);
      EXPECT_EQ(row.name, table.name);
      for (int format = 0; format < tensor::kNFormats; ++format) {
        EXPECT_NE(table.pack[format], nullptr) << format;
        EXPECT_NE(table.gemm[format], nullptr) << format;
        EXPECT_NE(table.unpack_row[format], nullptr) << format;
        EXPECT_NE(table.quantize[static_cast<int>(table.act_kind[format])], nullptr) << format;
      }
      for (ActQuantize quantize : table.quantize) EXPECT_NE(quantize, nullptr);
      for (KvWrite write : table.kv_write) EXPECT_NE(write, nullptr);
      for (AttnSpan span : table.attn_span) EXPECT_NE(span, nullptr);
      bool all = table.attn_merge && table.rms_norm && table.layer_norm && table.gelu && table.rope_half &&
                 table.rope_pairs && table.silu_mul && table.gelu_mul && table.add && table.scale && table.softcap &&
                 table.argmax && table.exp_sum && table.exp && table.select_above;
      EXPECT_TRUE(all);
    }
  }
}

TEST(Pick, TilesNeedTheirFeaturesAndAreNoDefault) {
  if (!host_runs("avx512vnni")) return expect_refused_here("avx512vnni");
  CpuFeatures cpu = v4_cpu();
  Result<const KernelTable*> none = pick_kernels(cpu, "amx");
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("lacks amx_tile, amx_int8"), std::string::npos) << none.error().message;
  cpu.amx_tile = cpu.amx_int8 = true;
  EXPECT_STREQ(pick_kernels(cpu, "").value()->name, "avx512vnni");
}

}  // namespace
}  // namespace millrace::kernels
