// The avx512vnni kernel table, put together from its pieces on first use.
// Invariant: every slot is set (kernels/tables_test.cc checks all of them).
// Thread: any.
#include "kernels/cpu/avx512vnni/fill.h"

namespace millrace::kernels::avx512vnni {
namespace {

KernelTable make_table() {
  KernelTable table;
  table.name = "avx512vnni";
  fill_gemm(table);
  fill_rows(table);
  fill_attention(table);
  return table;
}

}  // namespace

const KernelTable& table() {
  static const KernelTable made = make_table();
  return made;
}

}  // namespace millrace::kernels::avx512vnni
