// The same GEMMs over tiles in software, for tests on machines without AMX. Built without the AMX flags' instructions
// being reached: RealTiles is not instantiated here. Thread: any.
#include "kernels/cpu/amx/fill.h"
#include "kernels/cpu/amx/gemm.h"

namespace millrace::kernels::amx {

void fill_emulated(KernelTable& table) { fill_tiles<EmulatedTiles>(table); }

}  // namespace millrace::kernels::amx
