// The generic kernel table, put together from its pieces on first use.
// Invariant: every slot is set (kernels/tables_test.cc checks all of them).
// Thread: any.
#include "kernels/cpu/generic/fill.h"

namespace millrace::kernels::generic {
namespace {

KernelTable make_table() {
  KernelTable table;
  table.name = "generic";
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

}  // namespace millrace::kernels::generic
