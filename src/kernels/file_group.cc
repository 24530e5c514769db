// Takes file groups apart. Offsets and bit orders are those of the public GGUF block structs (ggml-common.h).
// Thread: any.
#include "kernels/file_group.h"

#include <cstring>

#include "base/macros.h"

namespace millrace::kernels {
namespace {

using tensor::Format;

uint16_t u16_at(const uint8_t* bytes) {
  uint16_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint32_t u32_at(const uint8_t* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

constexpr uint64_t kEachByte = 0x0101010101010101u;

// q[i] |= ((bytes[i] >> from) & mask) << to for n values, a multiple of 8. No field crosses the end of a byte.
void add_fields(uint8_t* q, const uint8_t* bytes, int n, int from, uint64_t mask, int to) {
  for (int i = 0; i < n; i += 8) {
    uint64_t eight = 0;
    uint64_t out = 0;
    std::memcpy(&eight, bytes + i, 8);
    std::memcpy(&out, q + i, 8);
    out |= ((eight >> from) & (mask * kEachByte)) << to;
    std::memcpy(q + i, &out, 8);
  }
}

// 2 n values: low nibbles of n bytes, then their high nibbles.
void add_nibbles(uint8_t* q, const uint8_t* bytes, int n) {
  add_fields(q, bytes, n, 0, 15, 0);
  add_fields(q + n, bytes, n, 4, 15, 0);
}

// Bit i of `high` to bit 4 of q[i].
void add_high_bits(uint8_t* q, uint32_t high) {
  for (int i = 0; i < 32; i += 8) {
    uint64_t out = 0;
    std::memcpy(&out, q + i, 8);
    uint64_t bits = (high >> i & 0xFF) * kEachByte & 0x8040201008040201u;  // byte j holds bit j, where it was
    out |= (bits + 0x7F * kEachByte) >> 7 << 4 & 16 * kEachByte;
    std::memcpy(q + i, &out, 8);
  }
}

// 256 values of 2 bits in 64 bytes: per 128 values, 32 bytes hold bit pairs of values l, l + 32, l + 64, l + 96.
void add_pairs(uint8_t* q, const uint8_t* bytes, int to) {
  for (int g = 0; g < 8; ++g) add_fields(q + 32 * g, bytes + g / 4 * 32, 32, g % 4 * 2, 3, to);
}

// 256 values of one bit in 32 bytes: value l + 32 g is bit g of byte l.
void add_bits(uint8_t* q, const uint8_t* bytes, int to) {
  for (int g = 0; g < 8; ++g) add_fields(q + 32 * g, bytes, 32, g, 1, to);
}

// The 8 (scale, min) pairs of 6 bits in 12 bytes of Q4_K and Q5_K.
void read_scale_mins(FileGroup& out, const uint8_t* s) {
  for (int j = 0; j < 4; ++j) {
    out.sc[j] = s[j] & 63;
    out.mn[j] = s[j + 4] & 63;
    out.sc[j + 4] = static_cast<uint8_t>((s[j + 8] & 15) | (s[j] >> 6) << 4);
    out.mn[j + 4] = static_cast<uint8_t>((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
  }
}

void read_q3_scales(FileGroup& out, const uint8_t* s) {
  for (int j = 0; j < 16; ++j) {
    int low = (s[j % 8] >> (j < 8 ? 0 : 4)) & 15;
    int high = (s[8 + j % 4] >> (2 * (j / 4))) & 3;
    out.sc[j] = static_cast<uint8_t>(low | high << 4);
  }
}

void read_small(FileGroup& out, Format format, const uint8_t* b) {
  bool has_min = format == Format::kQ4_1 || format == Format::kQ5_1;
  bool has_high = format == Format::kQ5_0 || format == Format::kQ5_1;
  out.d = u16_at(b);
  b += 2;
  if (has_min) {
    out.m = u16_at(b);
    b += 2;
  }
  if (format == Format::kQ8_0) {
    for (int i = 0; i < 32; ++i) out.q[i] = b[i] ^ 0x80;
    return;
  }
  uint32_t high = 0;
  if (has_high) {
    high = u32_at(b);
    b += 4;
  }
  add_nibbles(out.q, b, 16);
  if (has_high) add_high_bits(out.q, high);
}

void read_q2_k(FileGroup& out, const uint8_t* b) {
  for (int j = 0; j < 16; ++j) {
    out.sc[j] = b[j] & 15;
    out.mn[j] = b[j] >> 4;
  }
  add_pairs(out.q, b + 16, 0);
  out.d = u16_at(b + 80);
  out.m = u16_at(b + 82);
}

void read_q3_k(FileGroup& out, const uint8_t* b) {
  add_pairs(out.q, b + 32, 0);
  add_bits(out.q, b, 2);
  read_q3_scales(out, b + 96);
  out.d = u16_at(b + 108);
}

void read_q45_k(FileGroup& out, Format format, const uint8_t* b) {
  out.d = u16_at(b);
  out.m = u16_at(b + 2);
  read_scale_mins(out, b + 4);
  bool has_high = format == Format::kQ5_K;
  const uint8_t* high = b + 16;
  const uint8_t* low = b + (has_high ? 48 : 16);
  for (int c = 0; c < 4; ++c) add_nibbles(out.q + 64 * c, low + 32 * c, 32);
  if (has_high) add_bits(out.q, high, 4);
}

void read_q6_k(FileGroup& out, const uint8_t* b) {
  for (int half = 0; half < 2; ++half) add_nibbles(out.q + half * 128, b + half * 64, 64);
  add_pairs(out.q, b + 128, 4);
  std::memcpy(out.sc, b + 192, 16);
  out.d = u16_at(b + 208);
}

void read_iq4_xs(FileGroup& out, const uint8_t* b) {
  out.d = u16_at(b);
  uint16_t high = u16_at(b + 2);
  for (int j = 0; j < 8; ++j) {
    int low = (b[4 + j / 2] >> (4 * (j % 2))) & 15;
    out.sc[j] = static_cast<uint8_t>(low | ((high >> (2 * j)) & 3) << 4);
    add_nibbles(out.q + 32 * j, b + 8 + 16 * j, 16);
  }
}

}  // namespace

void read_file_group(FileGroup& out, Format format, const uint8_t* bytes) {
  out.m = 0;
  std::memset(out.q, 0, sizeof(out.q));
  std::memset(out.mn, 0, sizeof(out.mn));
  switch (format) {
    case Format::kF32:
    case Format::kF16:
    case Format::kBF16:
      CHECK(false, "format {} has no quants", static_cast<int>(format));
      return;
    case Format::kQ4_0:
    case Format::kQ4_1:
    case Format::kQ5_0:
    case Format::kQ5_1:
    case Format::kQ8_0:
    case Format::kIQ4_NL:
      return read_small(out, format, bytes);
    case Format::kQ2_K:
      return read_q2_k(out, bytes);
    case Format::kQ3_K:
      return read_q3_k(out, bytes);
    case Format::kQ4_K:
    case Format::kQ5_K:
      return read_q45_k(out, format, bytes);
    case Format::kQ6_K:
      return read_q6_k(out, bytes);
    case Format::kIQ4_XS:
      return read_iq4_xs(out, bytes);
  }
}

}  // namespace millrace::kernels
