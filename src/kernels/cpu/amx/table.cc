// The amx kernel tables: those of avx512vnni with the GEMMs of form G on tiles. Forms S and F, bf16 weights and
// attention are those of avx512vnni, with its bf16 family. Thread: any.
#include "kernels/cpu/amx/fill.h"
#include "kernels/cpu/avx512vnni/fill.h"

namespace millrace::kernels::amx {
namespace {

KernelTable on_tiles(KernelTable table) {
  table.name = "amx";
  fill_gemm(table);
  return table;
}

}  // namespace

const KernelTable& table() {
  static const KernelTable made = on_tiles(avx512vnni::table());
  return made;
}

const KernelTable& table_bf16() {
  static const KernelTable made = on_tiles(avx512vnni::table_bf16());
  return made;
}

}  // namespace millrace::kernels::amx
