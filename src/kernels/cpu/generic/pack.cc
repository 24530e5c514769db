// Packers: 32 rows of file groups into one panel (kernels/layout.h). Shared by every table, since a panel is the same
// bytes whatever the ISA. A null row leaves zero scales, so its outputs are exact zeros.
// The formats whose packed dwords are the file's dwords (Q4_0 Q4_1 IQ4_NL Q8_0) are copied; the others go through
// FileGroup. Thread: any; loading runs one call per panel on many threads.
#include <cstring>

#include "kernels/cpu/generic/panels.h"
#include "kernels/file_group.h"
#include "kernels/layout.h"

namespace millrace::kernels::generic {
namespace {

using tensor::Format;

constexpr int kRows = kPanelRows;

void put_f16(uint8_t* part, int row, uint16_t bits) { std::memcpy(part + 2 * row, &bits, sizeof(bits)); }

void or_byte(uint8_t* at, int bits) { *at = static_cast<uint8_t>(*at | bits); }

// Dwords: 4 neighbouring values of a row, one a byte.
uint32_t dword_at(const uint8_t* q) {
  uint32_t four = 0;
  std::memcpy(&four, q, 4);
  return four;
}
void put_dword(uint8_t* part, int row, uint32_t four) { std::memcpy(part + row * 4, &four, 4); }

// The writers below take the 32 values of one group of one row.
void put_nibbles(uint8_t* part, int row, const uint8_t* q) {
  for (int v = 0; v < 4; ++v) {
    uint32_t low = dword_at(q + 4 * v) & 0x0F0F0F0Fu;
    put_dword(part + v * 128, row, low | (dword_at(q + 16 + 4 * v) & 0x0F0F0F0Fu) << 4);
  }
}

void put_pairs(uint8_t* part, int row, const uint8_t* q, int shift) {
  for (int v = 0; v < 2; ++v) {
    uint32_t four = 0;
    for (int i = 0; i < 4; ++i) four |= (dword_at(q + 4 * (v + 2 * i)) >> shift & 0x03030303u) << (2 * i);
    put_dword(part + v * 128, row, four);
  }
}

void put_bits(uint8_t* part, int row, const uint8_t* q, int shift) {
  uint32_t four = 0;
  for (int i = 0; i < 8; ++i) four |= (dword_at(q + 4 * i) >> shift & 0x01010101u) << i;
  put_dword(part, row, four);
}

// n raw 6-bit scales: low nibbles [n/2][32] (j in the low, j + n/2 in the high nibble), bit pairs [n/4][32].
void put_scale_nibbles(uint8_t* part, int row, const uint8_t* sc, int n) {
  for (int j = 0; j < n / 2; ++j)
    part[j * kRows + row] = static_cast<uint8_t>((sc[j] & 15) | (sc[j + n / 2] & 15) << 4);
}

void put_scale_pairs(uint8_t* part, int row, const uint8_t* sc, int n) {
  for (int j = 0; j < n; ++j) or_byte(part + (j % (n / 4)) * kRows + row, (sc[j] >> 4) << (2 * (j / (n / 4))));
}

void put_scale_mins(uint8_t* part, int row, const FileGroup& group) {
  for (int j = 0; j < 8; ++j)
    part[j * kRows + row] = static_cast<uint8_t>((group.sc[j] & 15) | (group.mn[j] & 15) << 4);
  put_scale_pairs(part + 256, row, group.sc, 8);
  put_scale_pairs(part + 320, row, group.mn, 8);
}

void put_cell_q5(uint8_t* cell, int row, const FileGroup& group) {
  put_nibbles(cell, row, group.q);
  put_bits(cell + kNibbleBytes, row, group.q, 4);
}

void put_cell_q2_k(uint8_t* cell, int row, const FileGroup& group) {
  for (int g = 0; g < 8; ++g) put_pairs(cell + g * kPairBytes, row, group.q + 32 * g, 0);
  for (int j = 0; j < 16; ++j) cell[2048 + j * kRows + row] = static_cast<uint8_t>(group.sc[j] | group.mn[j] << 4);
  put_f16(cell + 2560, row, group.d);
  put_f16(cell + 2624, row, group.m);
}

void put_cell_q3_k(uint8_t* cell, int row, const FileGroup& group) {
  for (int g = 0; g < 8; ++g) {
    put_pairs(cell + g * kPairBytes, row, group.q + 32 * g, 0);
    put_bits(cell + 2048 + g * kBitBytes, row, group.q + 32 * g, 2);
  }
  put_scale_nibbles(cell + 3072, row, group.sc, 16);
  put_scale_pairs(cell + 3328, row, group.sc, 16);
  put_f16(cell + 3456, row, group.d);
}

void put_cell_q45_k(uint8_t* cell, int row, const FileGroup& group, bool has_high) {
  for (int g = 0; g < 8; ++g) {
    put_nibbles(cell + g * kNibbleBytes, row, group.q + 32 * g);
    if (has_high) put_bits(cell + 4096 + g * kBitBytes, row, group.q + 32 * g, 4);
  }
  uint8_t* scales = cell + (has_high ? 5120 : 4096);
  put_scale_mins(scales, row, group);
  put_f16(scales + 384, row, group.d);
  put_f16(scales + 448, row, group.m);
}

void put_cell_q6_k(uint8_t* cell, int row, const FileGroup& group) {
  for (int g = 0; g < 8; ++g) {
    put_nibbles(cell + g * kNibbleBytes, row, group.q + 32 * g);
    put_pairs(cell + 4096 + g * kPairBytes, row, group.q + 32 * g, 4);
  }
  for (int j = 0; j < 16; ++j) cell[6144 + j * kRows + row] = group.sc[j];
  put_f16(cell + 6656, row, group.d);
}

void put_cell_iq4_xs(uint8_t* cell, int row, const FileGroup& group) {
  for (int g = 0; g < 8; ++g) put_nibbles(cell + g * kNibbleBytes, row, group.q + 32 * g);
  put_scale_nibbles(cell + 4096, row, group.sc, 8);
  put_scale_pairs(cell + 4224, row, group.sc, 8);
  put_f16(cell + 4288, row, group.d);
}

// One group of one row that goes through FileGroup.
template <Format kFormat>
void put_cell(uint8_t* cell, int row, const uint8_t* bytes) {
  FileGroup group;
  read_file_group(group, kFormat, bytes);
  if constexpr (kFormat == Format::kQ5_0 || kFormat == Format::kQ5_1) {
    put_cell_q5(cell, row, group);
    put_f16(cell + kNibbleBytes + kBitBytes, row, group.d);
    if constexpr (kFormat == Format::kQ5_1) put_f16(cell + kNibbleBytes + kBitBytes + kRowF16Bytes, row, group.m);
  } else if constexpr (kFormat == Format::kQ2_K) {
    put_cell_q2_k(cell, row, group);
  } else if constexpr (kFormat == Format::kQ3_K) {
    put_cell_q3_k(cell, row, group);
  } else if constexpr (kFormat == Format::kQ4_K || kFormat == Format::kQ5_K) {
    put_cell_q45_k(cell, row, group, kFormat == Format::kQ5_K);
  } else if constexpr (kFormat == Format::kQ6_K) {
    put_cell_q6_k(cell, row, group);
  } else {
    static_assert(kFormat == Format::kIQ4_XS);
    put_cell_iq4_xs(cell, row, group);
  }
}

// A row writes 4 bytes to every other line of a cell: so many cells stay in L1 until all 32 rows are in them.
constexpr int64_t kCellsAtOnce = 4;

template <Format kFormat>
void pack_cells(uint8_t* panel, const uint8_t* const* rows, int64_t k) {
  constexpr PanelCell kCell = kPanelCells[static_cast<int>(kFormat)];
  constexpr FileGroupSize kGroup = kFileGroups[static_cast<int>(kFormat)];
  std::memset(panel, 0, static_cast<size_t>(k / kCell.values * kCell.cell_bytes));
  const int64_t n_cells = k / kCell.values;
  for (int64_t begin = 0; begin < n_cells; begin += kCellsAtOnce) {
    const int64_t end = begin + kCellsAtOnce < n_cells ? begin + kCellsAtOnce : n_cells;
    for (int row = 0; row < kRows; ++row) {
      if (rows[row] == nullptr) continue;
      for (int64_t i = begin; i < end; ++i) {
        put_cell<kFormat>(panel + i * kCell.cell_bytes, row, rows[row] + i * kGroup.bytes);
      }
    }
  }
}

// The formats whose quants are whole dwords of the file: kDwords of them at kQuants in the file group.
template <Format kFormat, int kDwords, int kQuants, uint32_t kFlip>
void pack_dwords(uint8_t* panel, const uint8_t* const* rows, int64_t k) {
  constexpr PanelCell kCell = kPanelCells[static_cast<int>(kFormat)];
  constexpr FileGroupSize kGroup = kFileGroups[static_cast<int>(kFormat)];
  constexpr int kScales = kQuants / 2;  // f16 values before the quants: d, or d and m
  std::memset(panel, 0, static_cast<size_t>(k / kCell.values * kCell.cell_bytes));
  for (int64_t i = 0; i < k / kCell.values; ++i) {
    uint8_t* cell = panel + i * kCell.cell_bytes;
    for (int row = 0; row < kRows; ++row) {
      if (rows[row] == nullptr) continue;
      const uint8_t* bytes = rows[row] + i * kGroup.bytes;
      for (int v = 0; v < kDwords; ++v) {
        uint32_t dword = 0;
        std::memcpy(&dword, bytes + kQuants + 4 * v, 4);
        dword ^= kFlip;
        std::memcpy(cell + v * 128 + row * 4, &dword, 4);
      }
      for (int s = 0; s < kScales; ++s) {
        std::memcpy(cell + kDwords * 128 + s * kRowF16Bytes + row * 2, bytes + 2 * s, 2);
      }
    }
  }
}

void pack_f32(uint8_t* panel, const uint8_t* const* rows, int64_t k) {
  std::memset(panel, 0, static_cast<size_t>(k * 128));
  for (int row = 0; row < kRows; ++row) {
    if (rows[row] == nullptr) continue;
    for (int64_t i = 0; i < k; ++i) std::memcpy(panel + i * 128 + row * 4, rows[row] + i * 4, 4);
  }
}

// F16 and BF16.
void pack_halves(uint8_t* panel, const uint8_t* const* rows, int64_t k) {
  std::memset(panel, 0, static_cast<size_t>((k + 1) / 2 * 128));
  for (int row = 0; row < kRows; ++row) {
    if (rows[row] == nullptr) continue;
    for (int64_t i = 0; i < k; ++i) std::memcpy(panel + i / 2 * 128 + row * 4 + i % 2 * 2, rows[row] + i * 2, 2);
  }
}

}  // namespace

void fill_pack(KernelTable& table) {
  auto set = [&table](Format format, PackPanel pack) { table.pack[static_cast<int>(format)] = pack; };
  set(Format::kF32, pack_f32);
  set(Format::kF16, pack_halves);
  set(Format::kBF16, pack_halves);
  set(Format::kQ4_0, pack_dwords<Format::kQ4_0, 4, 2, 0>);
  set(Format::kQ4_1, pack_dwords<Format::kQ4_1, 4, 4, 0>);
  set(Format::kQ5_0, pack_cells<Format::kQ5_0>);
  set(Format::kQ5_1, pack_cells<Format::kQ5_1>);
  set(Format::kQ8_0, pack_dwords<Format::kQ8_0, 8, 2, 0x80808080u>);
  set(Format::kQ2_K, pack_cells<Format::kQ2_K>);
  set(Format::kQ3_K, pack_cells<Format::kQ3_K>);
  set(Format::kQ4_K, pack_cells<Format::kQ4_K>);
  set(Format::kQ5_K, pack_cells<Format::kQ5_K>);
  set(Format::kQ6_K, pack_cells<Format::kQ6_K>);
  set(Format::kIQ4_NL, pack_dwords<Format::kIQ4_NL, 4, 2, 0>);
  set(Format::kIQ4_XS, pack_cells<Format::kIQ4_XS>);
}

}  // namespace millrace::kernels::generic
