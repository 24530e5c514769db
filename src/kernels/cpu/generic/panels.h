// The parts of a kernel table that no ISA needs its own copy of: packing at load, and one row back to f32.
// Thread: any.
#pragma once

#include "kernels/ops.h"

namespace millrace::kernels::generic {

void fill_pack(KernelTable& table);
void fill_unpack(KernelTable& table);

}  // namespace millrace::kernels::generic
