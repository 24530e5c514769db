// Times the GEMM of every weight format for a few batch sizes, on one thread: bytes of packed weights per second and
// multiply-adds per clock cycle (of the time stamp counter rate given by --ghz, or 1 for MAC/ns).
// Usage: bench_kernels [isa] [k] [n] [ghz]. Source of the targets: CPU_KERNELS section 16.
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include "kernels/file_group.h"
#include "kernels/pick.h"
#include "tensor/float16.h"
#include "tensor/formats.h"

namespace millrace::kernels {
namespace {

struct Options {
  std::string_view isa;
  int64_t k = 2048;
  int64_t n = 4096;
  double ghz = 1.0;
};

struct alignas(64) Line {
  uint8_t bytes[64] = {};
};

using Memory = std::vector<Line>;
Memory make_memory(int64_t bytes) { return Memory(static_cast<size_t>(bytes / 64 + 1)); }

// Random quants under small scales, so that sums stay finite.
Memory random_panels(const KernelTable& table, tensor::Format format, int64_t n, int64_t k) {
  const FileGroupSize& size = kFileGroups[static_cast<int>(format)];
  std::mt19937 random(1);
  std::vector<uint8_t> row(static_cast<size_t>(k / size.values * size.bytes));
  for (uint8_t& byte : row) byte = static_cast<uint8_t>(random() % 60);
  const uint8_t* rows[kPanelRows];
  for (const uint8_t*& each : rows) each = row.data();
  int64_t bytes = panel_bytes(format, k);
  Memory memory = make_memory(n / kPanelRows * bytes);
  for (int64_t p = 0; p < n / kPanelRows; ++p) {
    table.pack[static_cast<int>(format)](memory.data()->bytes + p * bytes, rows, k);
  }
  return memory;
}

void time_gemm(const KernelTable& table, tensor::Format format, int64_t m, const Options& options, Memory& panels) {
  ActKind kind = table.act_kind[static_cast<int>(format)];
  Memory act_memory = make_memory(act_bytes(kind, m, options.k));
  std::vector<float> x(static_cast<size_t>(m * options.k), 0.5f);
  GemmArgs args;
  args.act = act_carve(kind, m, options.k, act_memory.data());
  table.quantize[static_cast<int>(kind)](args.act, x.data(), options.k, 0, m);
  Memory out = make_memory(m * options.n * 4);
  args.row_end = m;
  args.panels = panels.data()->bytes;
  args.k = options.k;
  args.n = options.n;
  args.panel_end = options.n / kPanelRows;
  args.out = reinterpret_cast<float*>(out.data());
  args.out_stride = options.n;
  double best = 1e9;
  for (int repeat = 0; repeat < 15; ++repeat) {
    auto start = std::chrono::steady_clock::now();
    table.gemm[static_cast<int>(format)](args);
    std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (taken.count() < best) best = taken.count();
  }
  auto bytes = static_cast<double>(panel_bytes(format, options.k) * (options.n / kPanelRows));
  auto macs = static_cast<double>(m * options.k * options.n);
  fmt::print("{:8} m {:4}  {:8.3f} ms  {:7.2f} GB/s  {:6.2f} MAC/cycle\n", tensor::format_info(format).name, m,
             best * 1e3, bytes / best * 1e-9, macs / best * 1e-9 / options.ghz);
}

bool read_number(std::string_view text, auto& out) {
  return std::from_chars(text.data(), text.data() + text.size(), out).ec == std::errc{};
}

int run(const Options& options) {
  CpuFeatures cpu = detect_cpu();
  Result<const KernelTable*> table = pick_kernels(cpu, options.isa);
  if (!table.ok()) {
    fmt::print(stderr, "{}\n", table.error().message);
    return 4;
  }
  fmt::print("{}: {} k {} n {}\n", cpu.name, table.value()->name, options.k, options.n);
  for (int i = 0; i < tensor::kNFormats; ++i) {
    auto format = static_cast<tensor::Format>(i);
    if (options.k % kFileGroups[i].values != 0) continue;
    Memory panels = random_panels(*table.value(), format, options.n, options.k);
    for (int64_t m : {1, 2, 6, 8, 96, 512}) time_gemm(*table.value(), format, m, options, panels);
  }
  return 0;
}

}  // namespace
}  // namespace millrace::kernels

int main(int argc, char** argv) {
  millrace::kernels::Options options;
  if (argc > 1) options.isa = argv[1];
  bool ok = (argc < 3 || millrace::kernels::read_number(argv[2], options.k)) &&
            (argc < 4 || millrace::kernels::read_number(argv[3], options.n)) &&
            (argc < 5 || millrace::kernels::read_number(argv[4], options.ghz));
  if (!ok) {
    fmt::print(stderr, "usage: bench_kernels [isa] [k] [n] [ghz]\n");
    return 2;
  }
  return millrace::kernels::run(options);
}
