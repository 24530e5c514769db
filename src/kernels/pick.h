// Chooses the kernel table of the process, once, from what the CPU can run. The order of preference is one array
// (isa_rows); `--isa` forces a row. Every table gives the same bits for quantised weights, so the choice is about
// speed. Thread: any.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "kernels/cpu/detect.h"
#include "kernels/ops.h"

namespace millrace::kernels {

struct IsaRow {
  std::string_view name;  // as in --isa and KernelTable::name
  // The features of this row that `cpu` lacks, "" when it has all, else "avx512vl, avx512vnni".
  std::string (*missing)(const CpuFeatures& cpu);
  const KernelTable& (*table)(const CpuFeatures& cpu);
};

// Best first.
std::span<const IsaRow> isa_rows();

// forced: a row name, or "" for the best row this CPU can run. Errors: kUsage for an unknown name, kResource where the
// CPU lacks the forced row's features, and where it is below x86-64-v3 and nothing is forced ("generic" may be forced
// on any x86-64 CPU).
Result<const KernelTable*> pick_kernels(const CpuFeatures& cpu, std::string_view forced);

}  // namespace millrace::kernels
