// The rows of pick.h and the walk over them. Thread: any.
#include "kernels/pick.h"

#include <fmt/core.h>

#include <array>
#include <string>

#include "kernels/cpu/amx/fill.h"
#include "kernels/cpu/avx2/fill.h"
#include "kernels/cpu/avx512vnni/fill.h"
#include "kernels/cpu/generic/fill.h"

namespace millrace::kernels {
namespace {

struct Need {
  bool has;
  std::string_view name;
};

template <size_t N>
std::string join_missing(const std::array<Need, N>& needs) {
  std::string text;
  for (const Need& need : needs) {
    if (need.has) continue;
    if (!text.empty()) text += ", ";
    text += need.name;
  }
  return text;
}

std::string missing_v3(const CpuFeatures& cpu) {
  return join_missing(
      std::array<Need, 4>{{{cpu.avx2, "avx2"}, {cpu.fma, "fma"}, {cpu.f16c, "f16c"}, {cpu.bmi, "bmi/lzcnt/movbe"}}});
}

std::string missing_avx512vnni(const CpuFeatures& cpu) {
  std::string v3 = missing_v3(cpu);
  std::string v4 = join_missing(std::array<Need, 5>{{{cpu.avx512f, "avx512f"},
                                                     {cpu.avx512bw, "avx512bw"},
                                                     {cpu.avx512dq, "avx512dq"},
                                                     {cpu.avx512vl, "avx512vl"},
                                                     {cpu.avx512vnni, "avx512vnni"}}});
  return v3.empty() || v4.empty() ? v3 + v4 : v3 + ", " + v4;
}

std::string missing_amx(const CpuFeatures& cpu) {
  std::string v4 = missing_avx512vnni(cpu);
  std::string tiles = join_missing(std::array<Need, 2>{{{cpu.amx_tile, "amx_tile"}, {cpu.amx_int8, "amx_int8"}}});
  if (v4.empty() && tiles.empty() && !request_tiles()) return "the system's permission to use AMX tiles";
  return v4.empty() || tiles.empty() ? v4 + tiles : v4 + ", " + tiles;
}

std::string missing_nothing(const CpuFeatures&) { return {}; }

const KernelTable& amx_table(const CpuFeatures& cpu) { return cpu.avx512bf16 ? amx::table_bf16() : amx::table(); }
const KernelTable& avx512vnni_table(const CpuFeatures& cpu) {
  return cpu.avx512bf16 ? avx512vnni::table_bf16() : avx512vnni::table();
}
const KernelTable& avx2_table(const CpuFeatures&) { return avx2::table(); }
const KernelTable& generic_table(const CpuFeatures&) { return generic::table(); }

constexpr IsaRow kRows[] = {
    {"amx", missing_amx, amx_table},
    {"avx512vnni", missing_avx512vnni, avx512vnni_table},
    {"avx2", missing_v3, avx2_table},
    {"generic", missing_nothing, generic_table},
};

std::string row_names() {
  std::string text;
  for (const IsaRow& row : kRows) {
    if (!text.empty()) text += ", ";
    text += row.name;
  }
  return text;
}

}  // namespace

std::span<const IsaRow> isa_rows() { return kRows; }

Result<const KernelTable*> pick_kernels(const CpuFeatures& cpu, std::string_view forced) {
  for (const IsaRow& row : kRows) {
    // generic is slow, amx has not run on hardware yet: neither is a default
    bool by_force_only = row.name == "generic" || row.name == "amx";
    if (forced.empty() ? by_force_only : row.name != forced) continue;
    std::string missing = row.missing(cpu);
    if (!forced.empty() && !missing.empty()) {
      return Error{ErrorCode::kResource,
                   fmt::format("isa {}: this CPU ({}) lacks {}", row.name, quote_for_message(cpu.name), missing),
                   "isa"};
    }
    if (missing.empty()) return &row.table(cpu);
  }
  if (forced.empty()) {
    return Error{ErrorCode::kResource,
                 fmt::format("this CPU ({}) is below x86-64-v3: it lacks {}; --isa generic runs on it, slowly",
                             quote_for_message(cpu.name), missing_v3(cpu)),
                 "isa"};
  }
  return Error{ErrorCode::kUsage,
               fmt::format("isa {}: unknown, want one of {}", quote_for_message(forced), row_names()), "isa"};
}

}  // namespace millrace::kernels
