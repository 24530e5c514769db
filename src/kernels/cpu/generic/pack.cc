// Packers: 32 rows of file groups into one panel (kernels/layout.h). Shared by every table, since a panel is the same
// bytes whatever the ISA. A null row leaves zero scales, so its outputs are exact zeros.
// Fields go from the file's bytes to the panel's eight at a time; offsets in a file group are those of the public GGUF
// block structs (as in kernels/file_group.cc, which the tests hold this file against). Thread: any; loading runs one
// call per panel on many threads.
#include <cstring>

#include "kernels/cpu/generic/panels.h"
#include "kernels/file_group.h"
#include "kernels/layout.h"

namespace millrace::kernels::generic {
namespace {

using tensor::Format;

constexpr int kRows = kPanelRows;

void put_f16(uint8_t* part, int row, const uint8_t* bytes) { std::memcpy(part + 2 * row, bytes, 2); }

// 8 neighbouring bytes of a file, and where they go: two dwords of a row, each 4 values along k.
uint64_t eight_at(const uint8_t* bytes) {
  uint64_t eight = 0;
  std::memcpy(&eight, bytes, 8);
  return eight;
}
void put_dword(uint8_t* part, int row, uint32_t four) { std::memcpy(part + row * 4, &four, 4); }
void put_two(uint8_t* part, int row, uint64_t two) {
  put_dword(part, row, static_cast<uint32_t>(two));
  put_dword(part + 128, row, static_cast<uint32_t>(two >> 32));
}

constexpr uint64_t kEachByte = 0x0101010101010101u;

// The writers below take one group of 32 values of one row: a field of each of 32 bytes, from bit `from` up.
[[gnu::always_inline]] inline void put_nibbles(uint8_t* part, int row, const uint8_t* bytes, int from) {
  for (int v = 0; v < 4; v += 2) {
    uint64_t low = eight_at(bytes + 4 * v) >> from & 15 * kEachByte;
    uint64_t high = eight_at(bytes + 16 + 4 * v) >> from & 15 * kEachByte;
    put_two(part + v * 128, row, low | high << 4);
  }
}

[[gnu::always_inline]] inline void put_pairs(uint8_t* part, int row, const uint8_t* bytes, int from) {
  uint64_t two = 0;
  for (int i = 0; i < 4; ++i) two |= (eight_at(bytes + 8 * i) >> from & 3 * kEachByte) << (2 * i);
  put_two(part, row, two);
}

[[gnu::always_inline]] inline void put_bits(uint8_t* part, int row, const uint8_t* bytes, int from) {
  uint64_t two = 0;
  for (int i = 0; i < 4; ++i) two |= (eight_at(bytes + 8 * i) >> from & kEachByte) << (2 * i);
  put_dword(part, row, static_cast<uint32_t>(two) | static_cast<uint32_t>(two >> 32) << 1);
}

// Groups whose dwords are those of the file.
[[gnu::always_inline]] inline void put_dwords(uint8_t* part, int row, const uint8_t* bytes, int n, uint32_t flip = 0) {
  for (int v = 0; v < n; v += 2) put_two(part + v * 128, row, eight_at(bytes + 4 * v) ^ (uint64_t{flip} << 32 | flip));
}

// The same of all 8 groups of a cell: 32 bytes hold 4 groups of pairs, or 8 of bits.
void put_cell_pairs(uint8_t* part, int row, const uint8_t* bytes) {
  for (int g = 0; g < 8; ++g) put_pairs(part + g * kPairBytes, row, bytes + g / 4 * 32, g % 4 * 2);
}
void put_cell_bits(uint8_t* part, int row, const uint8_t* bytes) {
  for (int g = 0; g < 8; ++g) put_bits(part + g * kBitBytes, row, bytes, g);
}

// n bytes of a row, each for its own 32 rows.
void put_column(uint8_t* part, int row, const uint8_t* bytes, int n) {
  for (int j = 0; j < n; ++j) part[j * kRows + row] = bytes[j];
}

// One group of a format in the file, to one row of its cell.
template <Format kFormat>
struct Cell;

// 32 bits, one for each value, behind d, or d and m.
template <bool kHasMin>
struct FiveBits {
  static void put(uint8_t* cell, int row, const uint8_t* bytes) {
    constexpr int kScales = kHasMin ? 2 : 1;
    uint32_t high = 0;
    std::memcpy(&high, bytes + 2 * kScales, 4);
    uint32_t four = 0;
    // 4 bits to the lowest bits of 4 bytes
    for (int i = 0; i < 8; ++i) four |= ((high >> (4 * i) & 15) * 0x00204081u & 0x01010101u) << i;
    put_dwords(cell, row, bytes + 2 * kScales + 4, 4);
    put_dword(cell + kNibbleBytes, row, four);
    for (int s = 0; s < kScales; ++s) put_f16(cell + kNibbleBytes + kBitBytes + s * kRowF16Bytes, row, bytes + 2 * s);
  }
};
template <>
struct Cell<Format::kQ5_0> : FiveBits<false> {};
template <>
struct Cell<Format::kQ5_1> : FiveBits<true> {};

template <>
struct Cell<Format::kQ2_K> {
  static void put(uint8_t* cell, int row, const uint8_t* bytes) {
    put_cell_pairs(cell, row, bytes + 16);
    put_column(cell + 2048, row, bytes, 16);
    put_f16(cell + 2560, row, bytes + 80);
    put_f16(cell + 2624, row, bytes + 82);
  }
};

// Its 12 bytes of scales are split like the cell's: low nibbles of 0 .. 7 and 8 .. 15, then bit pairs.
template <>
struct Cell<Format::kQ3_K> {
  static void put(uint8_t* cell, int row, const uint8_t* bytes) {
    put_cell_pairs(cell, row, bytes + 32);
    put_cell_bits(cell + 2048, row, bytes);
    put_column(cell + 3072, row, bytes + 96, 12);
    put_f16(cell + 3456, row, bytes + 108);
  }
};

// Bits 4 and 5 of numbers 0 .. 3 and 4 .. 7, which lie in bits 4 and 5 and in bits 6 and 7 of 4 bytes, as bit pairs
// [2][32].
void put_top_pairs(uint8_t* part, int row, const uint8_t* bytes) {
  for (int j = 0; j < 2; ++j) {
    int first = bytes[j];
    int third = bytes[j + 2];
    part[j * kRows + row] =
        static_cast<uint8_t>((first >> 4 & 3) | (third >> 2 & 12) | (first >> 2 & 48) | (third & 192));
  }
}

// 12 bytes: scales 0 .. 3, mins 0 .. 3, then the low nibbles of both of 4 .. 7, whose top bits are in the first 8.
void put_scale_mins(uint8_t* part, int row, const uint8_t* bytes) {
  for (int j = 0; j < 4; ++j) {
    part[j * kRows + row] = static_cast<uint8_t>((bytes[j] & 15) | (bytes[j + 4] & 15) << 4);
  }
  put_column(part + 4 * kRows, row, bytes + 8, 4);
  put_top_pairs(part + 256, row, bytes);
  put_top_pairs(part + 320, row, bytes + 4);
}

// 32 bytes hold two groups, in their low and in their high nibbles.
template <bool kHigh>
struct ScaleMinCell {
  static void put(uint8_t* cell, int row, const uint8_t* bytes) {
    const uint8_t* quants = bytes + (kHigh ? 48 : 16);
    for (int g = 0; g < 8; ++g) put_nibbles(cell + g * kNibbleBytes, row, quants + g / 2 * 32, g % 2 * 4);
    if (kHigh) put_cell_bits(cell + 4096, row, bytes + 16);
    uint8_t* scales = cell + (kHigh ? 5120 : 4096);
    put_scale_mins(scales, row, bytes + 4);
    put_f16(scales + 384, row, bytes);
    put_f16(scales + 448, row, bytes + 2);
  }
};
template <>
struct Cell<Format::kQ4_K> : ScaleMinCell<false> {};
template <>
struct Cell<Format::kQ5_K> : ScaleMinCell<true> {};

// 64 bytes hold four groups: two in the low nibbles, two in the high ones.
template <>
struct Cell<Format::kQ6_K> {
  static void put(uint8_t* cell, int row, const uint8_t* bytes) {
    for (int g = 0; g < 8; ++g) {
      put_nibbles(cell + g * kNibbleBytes, row, bytes + g / 4 * 64 + g % 2 * 32, g % 4 / 2 * 4);
    }
    put_cell_pairs(cell + 4096, row, bytes + 128);
    put_column(cell + 6144, row, bytes + 192, 16);
    put_f16(cell + 6656, row, bytes + 208);
  }
};

// 8 scales: bit pairs in 2 bytes, then low nibbles in 4.
template <>
struct Cell<Format::kIQ4_XS> {
  static void put(uint8_t* cell, int row, const uint8_t* bytes) {
    for (int g = 0; g < 8; ++g) put_dwords(cell + g * kNibbleBytes, row, bytes + 8 + 16 * g, 4);
    auto low = [&](int j) { return bytes[4 + j / 2] >> (j % 2 * 4) & 15; };
    for (int j = 0; j < 4; ++j) cell[4096 + j * kRows + row] = static_cast<uint8_t>(low(j) | low(j + 4) << 4);
    for (int j = 0; j < 2; ++j) {
      int pairs = 0;
      for (int i = 0; i < 4; ++i) pairs |= (bytes[2 + i / 2] >> ((j + 2 * i) % 4 * 2) & 3) << (2 * i);
      cell[4224 + j * kRows + row] = static_cast<uint8_t>(pairs);
    }
    put_f16(cell + 4288, row, bytes);
  }
};

// The formats whose quants are whole dwords of the file: kDwords of them at kQuants in the file group, behind d, or d
// and m.
template <int kDwords, int kQuants, uint32_t kFlip>
struct DwordCell {
  static void put(uint8_t* cell, int row, const uint8_t* bytes) {
    put_dwords(cell, row, bytes + kQuants, kDwords, kFlip);
    for (int s = 0; s < kQuants / 2; ++s) put_f16(cell + kDwords * 128 + s * kRowF16Bytes, row, bytes + 2 * s);
  }
};
template <>
struct Cell<Format::kQ4_0> : DwordCell<4, 2, 0> {};
template <>
struct Cell<Format::kQ4_1> : DwordCell<4, 4, 0> {};
template <>
struct Cell<Format::kQ8_0> : DwordCell<8, 2, 0x80808080u> {};
template <>
struct Cell<Format::kIQ4_NL> : DwordCell<4, 2, 0> {};

// Null rows are zeros; the others write every byte of theirs.
void clear_short(uint8_t* panel, const uint8_t* const* rows, int64_t n_bytes) {
  for (int row = 0; row < kRows; ++row) {
    if (rows[row] == nullptr) return static_cast<void>(std::memset(panel, 0, static_cast<size_t>(n_bytes)));
  }
}

// A row writes 4 bytes to every other line of its cells: so many bytes of cells stay in L1 until all 32 rows are in.
constexpr int64_t kBytesAtOnce = 18 * 1024;

// 32 rows are 32 streams of some hundred bytes each: too many and too short for hardware to follow.
void fetch_bytes(const uint8_t* from, int64_t n) {
  for (int64_t at = 0; at < n; at += 64) __builtin_prefetch(from + at, 0, 2);
}

template <Format kFormat>
void pack_cells(uint8_t* panel, const uint8_t* const* rows, int64_t k) {
  constexpr PanelCell kCell = kPanelCells[static_cast<int>(kFormat)];
  constexpr FileGroupSize kGroup = kFileGroups[static_cast<int>(kFormat)];
  constexpr int64_t kCellsAtOnce = kBytesAtOnce / kCell.cell_bytes;
  const int64_t n_cells = k / kCell.values;
  clear_short(panel, rows, n_cells * kCell.cell_bytes);
  for (int row = 0; row < kRows && rows[row] != nullptr; ++row) fetch_bytes(rows[row], kCellsAtOnce * kGroup.bytes);
  for (int64_t begin = 0; begin < n_cells; begin += kCellsAtOnce) {
    const int64_t end = begin + kCellsAtOnce < n_cells ? begin + kCellsAtOnce : n_cells;
    for (int row = 0; row < kRows; ++row) {
      if (rows[row] == nullptr) continue;
      for (int64_t i = begin; i < end; ++i) {
        const uint8_t* from = rows[row] + i * kGroup.bytes;
        fetch_bytes(from + kCellsAtOnce * kGroup.bytes, kGroup.bytes);
        Cell<kFormat>::put(panel + i * kCell.cell_bytes, row, from);
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
  set(Format::kQ4_0, pack_cells<Format::kQ4_0>);
  set(Format::kQ4_1, pack_cells<Format::kQ4_1>);
  set(Format::kQ5_0, pack_cells<Format::kQ5_0>);
  set(Format::kQ5_1, pack_cells<Format::kQ5_1>);
  set(Format::kQ8_0, pack_cells<Format::kQ8_0>);
  set(Format::kQ2_K, pack_cells<Format::kQ2_K>);
  set(Format::kQ3_K, pack_cells<Format::kQ3_K>);
  set(Format::kQ4_K, pack_cells<Format::kQ4_K>);
  set(Format::kQ5_K, pack_cells<Format::kQ5_K>);
  set(Format::kQ6_K, pack_cells<Format::kQ6_K>);
  set(Format::kIQ4_NL, pack_cells<Format::kIQ4_NL>);
  set(Format::kIQ4_XS, pack_cells<Format::kIQ4_XS>);
}

}  // namespace millrace::kernels::generic
