// millrace version: what this binary is and what it would run on here.
#include <fmt/core.h>

#include "app/build_info.h"
#include "app/commands.h"
#include "app/flags.h"
#include "base/macros.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"

namespace millrace::app {

Result<int> version_command(std::span<const std::string> args) {
  FlagSet set("version", "Print version, build and the kernels this CPU would use.");
  if (!TRY(set.parse(args))) return 0;
  fmt::print("millrace {}\nbuild: {}, {}, commit {}\n", build_version(), build_type(), build_compiler(),
             build_commit());
  kernels::CpuFeatures features = kernels::detect_cpu();
  auto table = kernels::pick_kernels(features, "");
  fmt::print("cpu: {}\nkernels: {}\n", features.name, table.ok() ? (*table)->name : table.error().message);
  return 0;
}

}  // namespace millrace::app
