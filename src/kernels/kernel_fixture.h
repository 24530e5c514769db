// Test helper: random matrices in file form, packed panels, and the GEMM slots of every table this CPU can run.
// Only *_test.cc files and bench/ include it. Thread: one.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/amx/fill.h"
#include "kernels/cpu/avx2/fill.h"
#include "kernels/cpu/avx512vnni/fill.h"
#include "kernels/cpu/detect.h"
#include "kernels/cpu/generic/fill.h"
#include "kernels/file_group.h"
#include "kernels/ops.h"
#include "tensor/float16.h"
#include "tensor/formats.h"

namespace millrace::kernels {

using tensor::Format;

// 64-byte aligned zeroed bytes.
class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t bytes) : words_(static_cast<size_t>(bytes / 64 + 1)) {}
  uint8_t* data() { return words_.data()->bytes; }
  float* floats() { return reinterpret_cast<float*>(data()); }

 private:
  struct alignas(64) Line {
    uint8_t bytes[64] = {};
  };
  std::vector<Line> words_;
};

struct NamedTable {
  std::string name;  // the bf16 family is appended where two tables share a name
  KernelTable table;
};

// The GEMM part of each table (rows and attention slots stay empty), best last.
inline std::vector<NamedTable> gemm_tables() {
  CpuFeatures cpu = detect_cpu();
  std::vector<NamedTable> tables;
  tables.push_back({"generic", {}});
  generic::fill_gemm(tables.back().table);
  if (cpu.avx2 && cpu.fma && cpu.f16c && cpu.bmi) {
    tables.push_back({"avx2", {}});
    avx2::fill_gemm(tables.back().table);
  }
  if (cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl && cpu.avx512vnni) {
    tables.push_back({"avx512vnni", {}});
    avx512vnni::fill_gemm(tables.back().table);
    avx512vnni::fill_quantize(tables.back().table);
    tables.push_back({"amx_emulated", tables.back().table});
    amx::fill_emulated(tables.back().table);
    if (cpu.avx512bf16) {
      tables.push_back({"avx512vnni_bf16", tables[tables.size() - 2].table});
      avx512vnni::fill_gemm_bf16(tables.back().table);
    }
  }
  return tables;
}

// Byte offsets of the f16 d and m of a group in a file; -1: none.
struct ScaleOffsets {
  int d;
  int m;
};
inline ScaleOffsets scale_offsets(Format format) {
  switch (format) {
    case Format::kF32:
    case Format::kF16:
    case Format::kBF16:
      return {-1, -1};
    case Format::kQ4_1:
    case Format::kQ5_1:
    case Format::kQ4_K:
    case Format::kQ5_K:
      return {0, 2};
    case Format::kQ4_0:
    case Format::kQ5_0:
    case Format::kQ8_0:
    case Format::kIQ4_NL:
    case Format::kIQ4_XS:
      return {0, -1};
    case Format::kQ2_K:
      return {80, 82};
    case Format::kQ3_K:
      return {108, -1};
    case Format::kQ6_K:
      return {208, -1};
  }
  return {-1, -1};
}

// A matrix [n, k] in file form: random quants (every code occurs), random scales of either sign around `scale`.
struct FileMatrix {
  Format format;
  int64_t n;
  int64_t k;
  int64_t row_bytes;
  std::vector<uint8_t> bytes;
  const uint8_t* row(int64_t i) const { return bytes.data() + i * row_bytes; }
};

inline FileMatrix random_matrix(Format format, int64_t n, int64_t k, float scale, uint32_t seed) {
  const FileGroupSize& size = kFileGroups[static_cast<int>(format)];
  FileMatrix out{format, n, k, k / size.values * size.bytes, {}};
  out.bytes.resize(static_cast<size_t>(n * out.row_bytes));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  ScaleOffsets at = scale_offsets(format);
  for (int64_t i = 0; i < n * k / size.values; ++i) {
    uint8_t* group = out.bytes.data() + i * size.bytes;
    float value = normal(random);
    if (format == Format::kF32) std::memcpy(group, &value, 4);
    if (format == Format::kF16) tensor::store_f16(group, value);
    if (format == Format::kBF16) tensor::store_u16(group, tensor::f32_to_bf16(value));
    if (at.d < 0) continue;
    for (int64_t b = 0; b < size.bytes; ++b) group[b] = static_cast<uint8_t>(random());
    tensor::store_f16(group + at.d, value);
    if (at.m >= 0) tensor::store_f16(group + at.m, normal(random));
  }
  return out;
}

// All rows of a matrix as panels, in order.
inline AlignedBytes pack_matrix(const KernelTable& table, const FileMatrix& matrix) {
  int64_t n_panels = (matrix.n + kPanelRows - 1) / kPanelRows;
  int64_t bytes = panel_bytes(matrix.format, matrix.k);
  AlignedBytes panels(n_panels * bytes);
  for (int64_t p = 0; p < n_panels; ++p) {
    const uint8_t* rows[kPanelRows];
    for (int64_t r = 0; r < kPanelRows; ++r) {
      int64_t row = p * kPanelRows + r;
      rows[r] = row < matrix.n ? matrix.row(row) : nullptr;
    }
    table.pack[static_cast<int>(matrix.format)](panels.data() + p * bytes, rows, matrix.k);
  }
  return panels;
}

inline std::vector<float> random_floats(int64_t n, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = normal(random);
  return out;
}

}  // namespace millrace::kernels
