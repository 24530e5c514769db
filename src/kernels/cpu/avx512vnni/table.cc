// The avx512vnni kernel tables, put together from their pieces on first use. Both carry the same name: they differ in
// bf16 weights and bf16 KV only, and bf16_family tells them apart.
// Invariant: every slot is set (kernels/tables_test.cc checks all of them).
// Thread: any.
#include "kernels/cpu/avx512vnni/fill.h"

namespace millrace::kernels::avx512vnni {
namespace {

KernelTable make_table(bool has_bf16) {
  KernelTable table;
  table.name = "avx512vnni";
  fill_gemm(table);
  fill_quantize(table);
  if (has_bf16) fill_gemm_bf16(table);
  fill_rows(table);
  fill_attention(table);
  if (has_bf16) fill_attention_bf16(table);
  fill_peak(table);
  return table;
}

}  // namespace

const KernelTable& table() {
  static const KernelTable made = make_table(false);
  return made;
}

const KernelTable& table_bf16() {
  static const KernelTable made = make_table(true);
  return made;
}

}  // namespace millrace::kernels::avx512vnni
