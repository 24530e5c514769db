// The avx2 kernel table, put together from its pieces on first use.
// Invariant: every slot is set (kernels/tables_test.cc checks all of them).
// Thread: any.
#include "kernels/cpu/avx2/fill.h"

namespace millrace::kernels::avx2 {
namespace {

KernelTable make_table() {
  KernelTable table;
  table.name = "avx2";
  fill_gemm(table);
  fill_rows(table);
  fill_attention(table);
  fill_peak(table);
  return table;
}

}  // namespace

const KernelTable& table() {
  static const KernelTable made = make_table();
  return made;
}

}  // namespace millrace::kernels::avx2
