#include "api/vector_bytes.h"

#include <bit>
#include <cstdint>

namespace millrace::api {
namespace {

constexpr uint32_t kInfinity = 0x7F800000;
constexpr uint32_t kSign = 0x80000000;

// x / 2^shift, to the nearest, ties to even.
uint32_t shifted(uint32_t x, uint32_t shift) {
  const uint32_t half = uint32_t{1} << (shift - 1);
  const uint32_t odd = x >> shift & 1;
  return (x + half - 1 + odd) >> shift;
}

uint16_t bfloat16_bits(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & ~kSign) > kInfinity) return static_cast<uint16_t>(bits >> 16 | 0x40);  // stays not a number
  return static_cast<uint16_t>(shifted(bits, 16));
}

// IEEE 754 binary16: 5 bits of exponent (bias 15), 10 of fraction.
uint16_t float16_bits(float value) {
  constexpr uint32_t kHalfInfinity = 0x7C00;
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits & kSign) >> 16;
  const uint32_t size = bits & ~kSign;
  if (size > kInfinity) return static_cast<uint16_t>(sign | kHalfInfinity | 0x200);
  constexpr uint32_t kTooLarge = 0x477FF000;  // 65520, which rounds to infinity
  constexpr uint32_t kNormal = 0x38800000;    // 2^-14
  if (size >= kTooLarge) return static_cast<uint16_t>(sign | kHalfInfinity);
  if (size >= kNormal) return static_cast<uint16_t>(sign | shifted(size - (112U << 23), 13));
  const uint32_t exponent = size >> 23;
  constexpr uint32_t kLeast = 102;  // below 2^-25 all round to zero
  if (exponent < kLeast) return static_cast<uint16_t>(sign);
  const uint32_t fraction = (size & 0x7FFFFF) | 0x800000;
  return static_cast<uint16_t>(sign | shifted(fraction, 126 - exponent));
}

void append_bits(std::string& out, uint32_t bits, int n_bytes, bool big_endian) {
  for (int i = 0; i < n_bytes; ++i) {
    const int place = big_endian ? n_bytes - 1 - i : i;
    out += static_cast<char>(bits >> (8 * place) & 0xFF);
  }
}

}  // namespace

std::string vector_bytes(std::span<const float> values, VectorType type, bool big_endian) {
  std::string out;
  out.reserve(values.size() * (type == VectorType::kFloat32 ? 4 : 2));
  for (float value : values) {
    switch (type) {
      case VectorType::kFloat32:
        append_bits(out, std::bit_cast<uint32_t>(value), 4, big_endian);
        break;
      case VectorType::kFloat16:
        append_bits(out, float16_bits(value), 2, big_endian);
        break;
      case VectorType::kBfloat16:
        append_bits(out, bfloat16_bits(value), 2, big_endian);
        break;
    }
  }
  return out;
}

std::string_view type_name(VectorType type) {
  switch (type) {
    case VectorType::kFloat32:
      return "float32";
    case VectorType::kFloat16:
      return "float16";
    case VectorType::kBfloat16:
      return "bfloat16";
  }
  return {};
}

}  // namespace millrace::api
