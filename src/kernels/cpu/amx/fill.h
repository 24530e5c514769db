// The pieces of the amx kernel table: that of avx512vnni with the GEMMs of form G on tiles. fill_emulated() is the same
// code over tiles done in software, so that packing, layout and order are tested on any AVX-512 machine.
// Thread: any (the tables are constant once made).
#pragma once

#include "kernels/ops.h"

namespace millrace::kernels::amx {

void fill_gemm(KernelTable& table);      // the gemm slots of form G
void fill_emulated(KernelTable& table);  // the same by EmulatedTiles

const KernelTable& table();       // a CPU without avx512_bf16
const KernelTable& table_bf16();  // a CPU with it

}  // namespace millrace::kernels::amx
