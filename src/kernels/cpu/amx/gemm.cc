// The GEMMs of form G on AMX tiles. Thread: any.
#include "kernels/cpu/amx/gemm.h"
#include "kernels/cpu/amx/fill.h"

namespace millrace::kernels::amx {

void fill_gemm(KernelTable& table) { fill_tiles<RealTiles>(table); }

}  // namespace millrace::kernels::amx
