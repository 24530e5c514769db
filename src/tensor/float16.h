// Exact scalar conversions between f32 and the 16-bit floats. Rounding is to nearest, ties to even.
// NaN stays NaN (quiet, top payload bits kept); f16 values above 65504 + 1/2 ulp become infinity.
// Thread: any (pure functions).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace millrace::tensor {

constexpr float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

constexpr uint16_t f32_to_bf16(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  uint32_t odd = (bits >> 16) & 1u;
  return static_cast<uint16_t>((bits + 0x7FFFu + odd) >> 16);
}

constexpr float f16_to_f32(uint16_t bits) {
  uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  uint32_t exponent = (uint32_t{bits} >> 10) & 0x1Fu;
  uint32_t mantissa = uint32_t{bits} & 0x3FFu;
  if (exponent == 0x1Fu) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  // zero or subnormal: mantissa * 2^-24 is exact in f32
  float magnitude = static_cast<float>(mantissa) * 0x1.0p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

constexpr uint16_t f32_to_f16(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  uint32_t sign = (bits >> 16) & 0x8000u;
  uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x1FFu));
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7C00u);  // >= 65536
  if (magnitude >= 0x38800000u) {                                              // normal f16, >= 2^-14
    uint32_t odd = (magnitude >> 13) & 1u;
    return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13));
  }
  if (magnitude < 0x33000000u) return static_cast<uint16_t>(sign);  // < 2^-25 rounds to zero
  uint32_t shift = 126u - (magnitude >> 23);                        // 14..24: f32 mantissa to units of 2^-24
  uint32_t mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
  uint32_t rest = mantissa & ((1u << shift) - 1u);
  uint32_t half = 1u << (shift - 1u);
  uint32_t units = mantissa >> shift;
  if (rest > half || (rest == half && (units & 1u) != 0)) ++units;
  return static_cast<uint16_t>(sign | units);
}

// Unaligned little-endian access to the bytes of a file.
inline uint16_t load_u16(const uint8_t* bytes) {
  uint16_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}
inline void store_u16(uint8_t* bytes, uint16_t value) { std::memcpy(bytes, &value, sizeof(value)); }
inline float load_f16(const uint8_t* bytes) { return f16_to_f32(load_u16(bytes)); }
inline void store_f16(uint8_t* bytes, float value) { store_u16(bytes, f32_to_f16(value)); }

}  // namespace millrace::tensor
