// millrace bench kernels: the GEMM of every weight format and attention over every KV type, on one thread, beside the
// peak of the same instructions measured in the same run. Buffers are made so small that they stay in L2 and so short
// that the best of the repeats is one that nothing interrupted.
// Source of the targets: CPU_KERNELS section 16. Thread: one.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <random>

#include "app/commands.h"
#include "app/flags.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/macros.h"
#include "device/buffer.h"
#include "kernels/cpu/detect.h"
#include "kernels/file_group.h"
#include "kernels/pick.h"
#include "kernels/probe.h"
#include "tensor/formats.h"

namespace millrace::app {
namespace {

using kernels::KernelTable;
using kernels::KvDType;
using tensor::Format;

struct BenchKernelsFlags {
  std::string isa;
  std::string format;
  std::string rows = "1,2,6,8,32,128";
  int64_t k = 1536;
  int64_t n = 256;
  int64_t context = 512;
  int64_t repetitions = 40;
  bool json = false;
};

struct Peaks {
  double int8_gmacs = 0;
  double f32_gmacs = 0;
  double ghz = 0;
};

struct Line {
  std::string op;
  int64_t m = 0;
  double ms = 0;
  double gbps = 0;   // weights or KV bytes
  double gmacs = 0;  // multiply-adds, 1e9/s
  double peak_gmacs = 0;
};

double best_ms(int64_t repetitions, const auto& body) {
  SystemClock clock;
  Tick best = kSecond * 3600;
  for (int64_t i = 0; i < repetitions; ++i) {
    Tick begin = clock.now();
    body();
    best = std::min(best, clock.now() - begin);
  }
  return static_cast<double>(best) / static_cast<double>(kSecond) * 1e3;
}

// A chain of one multiply and one add, 3 + 1 cycles on every x86-64 core of the last ten years.
double measure_ghz() {
  constexpr int64_t kSteps = 200'000;
  uint64_t x = 1;
  double ms = best_ms(10, [&] {
    for (int64_t i = 0; i < kSteps; ++i) {
      x = x * 0x9E3779B97F4A7C15u + 1;
      asm volatile("" : "+r"(x));
    }
  });
  return 4.0 * static_cast<double>(kSteps) / (ms * 1e6);
}

Result<device::Buffer> zeros(int64_t n_bytes) {
  return device::Buffer::allocate(static_cast<size_t>(n_bytes), "kernel bench");
}

// Random quants under small scales, so that sums stay finite.
Result<device::Buffer> random_panels(const KernelTable& table, Format format, int64_t n, int64_t k) {
  const kernels::FileGroupSize& size = kernels::kFileGroups[static_cast<int>(format)];
  std::mt19937 random(1);
  std::vector<uint8_t> row(static_cast<size_t>(k / size.values * size.bytes));
  for (uint8_t& byte : row) byte = static_cast<uint8_t>(random() % 60);
  const uint8_t* rows[kernels::kPanelRows];
  for (const uint8_t*& each : rows) each = row.data();
  int64_t bytes = kernels::panel_bytes(format, k);
  device::Buffer panels = TRY(zeros(n / kernels::kPanelRows * bytes));
  for (int64_t p = 0; p < n / kernels::kPanelRows; ++p) {
    table.pack[static_cast<int>(format)](panels.data() + p * bytes, rows, k);
  }
  return panels;
}

// bf16 pairs give two multiply-adds where f32 gives one.
double peak_of(const KernelTable& table, const Peaks& peaks, kernels::ActKind kind) {
  if (kind == kernels::ActKind::kF32) return peaks.f32_gmacs;
  if (kind == kernels::ActKind::kBF16)
    return std::string_view(table.bf16_family) == "f32" ? peaks.f32_gmacs : 2 * peaks.f32_gmacs;
  return peaks.int8_gmacs;
}

Result<Line> time_gemm(const KernelTable& table, Format format, int64_t m, const BenchKernelsFlags& f,
                       const Peaks& peaks) {
  kernels::ActKind kind = table.act_kind[static_cast<int>(format)];
  device::Buffer panels = TRY(random_panels(table, format, f.n, f.k));
  device::Buffer acts = TRY(zeros(kernels::act_bytes(kind, m, f.k)));
  device::Buffer out = TRY(zeros(m * f.n * 4));
  std::vector<float> x(static_cast<size_t>(m * f.k), 0.5f);
  kernels::GemmArgs args;
  args.act = kernels::act_carve(kind, m, f.k, acts.data());
  table.quantize[static_cast<int>(kind)](args.act, x.data(), f.k, 0, m);
  args.row_end = m;
  args.panels = panels.data();
  args.k = f.k;
  args.n = f.n;
  args.panel_end = f.n / kernels::kPanelRows;
  args.out = reinterpret_cast<float*>(out.data());
  args.out_stride = f.n;
  Line line{.op = std::string(tensor::format_info(format).name), .m = m};
  line.ms = best_ms(f.repetitions, [&] { table.gemm[static_cast<int>(format)](args); });
  line.gbps = static_cast<double>(panels.size_bytes()) / line.ms * 1e-6;
  line.gmacs = static_cast<double>(m * f.k * f.n) / line.ms * 1e-6;
  line.peak_gmacs = peak_of(table, peaks, kind);
  return line;
}

// One KV head of 64 with 3 query heads: the last m tokens of the context against all of it.
Result<Line> time_attention(const KernelTable& table, KvDType dtype, int64_t m, const BenchKernelsFlags& f,
                            const Peaks& peaks) {
  constexpr int64_t kHeadDim = 64;
  constexpr int32_t kGroup = 3;
  int64_t n_rows = m * kGroup;
  int64_t block_bytes = kernels::kv_head_bytes(dtype, kHeadDim);
  device::Buffer blocks = TRY(zeros(block_bytes * ((f.context + 255) / 256 * 8)));
  device::Buffer scratch = TRY(zeros(kernels::attn_scratch_bytes(n_rows, kHeadDim)));
  std::vector<float> q(static_cast<size_t>(n_rows * kHeadDim), 0.25f);
  std::vector<float> max(static_cast<size_t>(n_rows));
  std::vector<float> sum(max);
  std::vector<float> o(q);
  kernels::AttnSpanArgs args{.q = q.data(), .q_token_stride = kGroup * kHeadDim};
  args.n_tokens = static_cast<int32_t>(m);
  args.n_group = kGroup;
  args.head_dim = kHeadDim;
  args.pos = f.context - m;
  args.scale = 0.125f;
  args.max = max.data();
  args.sum = sum.data();
  args.o = o.data();
  args.scratch = scratch.data();
  Line line{.op = dtype == KvDType::kBF16 ? "attention bf16" : "attention int8", .m = m};
  line.ms = best_ms(f.repetitions, [&] {
    for (int64_t span = 0; span < f.context; span += kernels::kSpanTokens) {
      const uint8_t* of_span[8];
      for (int64_t i = 0; i < 8; ++i) of_span[i] = blocks.data() + (span / 32 + i) * block_bytes;
      args.blocks = of_span;
      args.span_begin = span;
      table.attn_span[static_cast<int>(dtype)](args);
    }
  });
  double n_pairs = static_cast<double>(m) * static_cast<double>(f.context) - static_cast<double>(m * (m - 1)) / 2;
  line.gbps = static_cast<double>(block_bytes) * static_cast<double>(f.context) / 32 / line.ms * 1e-6;
  line.gmacs = n_pairs * kGroup * kHeadDim * 2 / line.ms * 1e-6;
  line.peak_gmacs = peak_of(table, peaks, dtype == KvDType::kBF16 ? kernels::ActKind::kBF16 : kernels::ActKind::kQ8A32);
  return line;
}

Result<std::vector<int64_t>> parse_rows(std::string_view text) {
  std::vector<int64_t> out;
  while (!text.empty()) {
    size_t comma = std::min(text.find(','), text.size());
    int64_t m = TRY(parse_size(text.substr(0, comma)));
    if (m < 1 || m > 4096) return Error{ErrorCode::kUsage, fmt::format("-m: {} rows, want 1 to 4096", m), "-m"};
    out.push_back(m);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

void print(const Line& line, const Peaks& peaks) {
  fmt::print("{:<15} m {:4} {:10.4f} ms {:8.2f} GB/s {:8.2f} GMAC/s {:7.2f} MAC/cycle {:6.1f} % of peak\n", line.op,
             line.m, line.ms, line.gbps, line.gmacs, line.gmacs / peaks.ghz, 100 * line.gmacs / line.peak_gmacs);
}

Json to_json(const Line& line, const Peaks& peaks) {
  Json row = Json::object();
  row.set("op", line.op);
  row.set("m", line.m);
  row.set("ms", line.ms);
  row.set("gbps", line.gbps);
  row.set("gmacs", line.gmacs);
  row.set("macs_per_cycle", line.gmacs / peaks.ghz);
  row.set("share_of_peak", line.gmacs / line.peak_gmacs);
  return row;
}

Result<std::vector<Line>> measure(const KernelTable& table, const BenchKernelsFlags& f, const Peaks& peaks) {
  std::vector<int64_t> all_m = TRY(parse_rows(f.rows));
  const tensor::FormatInfo* only = f.format.empty() ? nullptr : tensor::format_of_name(f.format);
  if (!f.format.empty() && only == nullptr)
    return Error{ErrorCode::kUsage, fmt::format("--format {}: unknown", quote_for_message(f.format)), "--format"};
  std::vector<Line> lines;
  for (int i = 0; i < tensor::kNFormats; ++i) {
    auto format = static_cast<Format>(i);
    if (f.k % kernels::kFileGroups[i].values != 0 || (only != nullptr && only->format != format)) continue;
    for (int64_t m : all_m) lines.push_back(TRY(time_gemm(table, format, m, f, peaks)));
  }
  for (KvDType dtype : {KvDType::kBF16, KvDType::kInt8}) {
    for (int64_t m : all_m) {
      if (only == nullptr && m <= f.context) lines.push_back(TRY(time_attention(table, dtype, m, f, peaks)));
    }
  }
  return lines;
}

}  // namespace

Result<int> bench_kernels_command(std::span<const std::string> args) {
  BenchKernelsFlags f;
  FlagSet set("bench kernels", "Rates of the kernels on one thread, beside the peak measured in the same run.");
  set.add("--isa", &f.isa, "instruction set; default: the best this CPU has");
  set.add("--format", &f.format, "one weight format, Q4_K for example; default: all, and attention");
  set.add("-m,--rows", &f.rows, "numbers of activation rows");
  set.add("-k,--inner", &f.k, "inner size");
  set.add("-n,--outputs", &f.n, "output rows, a multiple of 32");
  set.add("-c,--context", &f.context, "tokens attention looks at");
  set.add("-r,--repetitions", &f.repetitions, "runs, of which the fastest counts");
  set.add("--json", &f.json, "JSON on stdout");
  if (!TRY(set.parse(args))) return 0;
  bool sizes_ok = f.k >= 32 && f.k % 32 == 0 && f.n >= 32 && f.n % 32 == 0 && f.k <= 65536 && f.n <= 65536;
  if (!sizes_ok || f.context < 1 || f.context > 65536 || f.repetitions < 1)
    return Error{ErrorCode::kUsage, "sizes: want multiples of 32 up to 65536, a context up to 65536, 1 run or more",
                 ""};
  kernels::CpuFeatures cpu = kernels::detect_cpu();
  const KernelTable* table = TRY(kernels::pick_kernels(cpu, f.isa));
  device::ThreadPool pool(1, false);
  Peaks peaks{kernels::probe_int8(pool, *table), kernels::probe_f32(pool, *table), measure_ghz()};
  std::vector<Line> lines = TRY(measure(*table, f, peaks));
  if (f.json) {
    Json report = Json::object();
    report.set("cpu", cpu.name);
    report.set("isa", table->name);
    report.set("ghz", peaks.ghz);
    report.set("int8_gmacs", peaks.int8_gmacs);
    report.set("f32_gmacs", peaks.f32_gmacs);
    Json rows = Json::array();
    for (const Line& line : lines) rows.push_back(to_json(line, peaks));
    report.set("results", rows);
    fmt::print("{}\n", report.dump());
    return 0;
  }
  fmt::print("{}, {}, {:.2f} GHz, one thread: int8 {:.0f} GMAC/s, f32 {:.0f} GMAC/s; k {} n {} context {}\n", cpu.name,
             table->name, peaks.ghz, peaks.int8_gmacs, peaks.f32_gmacs, f.k, f.n, f.context);
  for (const Line& line : lines) print(line, peaks);
  return 0;
}

}  // namespace millrace::app
