// Bytes of vectors: every half precision number back and forth, ties, what is too large or too small, both byte orders.
#include "api/vector_bytes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace millrace::api {
namespace {

uint16_t bits_of(float value, VectorType type) {
  const std::string bytes = vector_bytes(std::vector<float>{value}, type, false);
  EXPECT_EQ(bytes.size(), 2u);
  return static_cast<uint16_t>(static_cast<uint8_t>(bytes[0]) | static_cast<uint8_t>(bytes[1]) << 8);
}

// IEEE 754 binary16.
float value_of_half(uint16_t bits) {
  const int exponent = bits >> 10 & 0x1F;
  const auto fraction = static_cast<float>(bits & 0x3FF);
  float size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024.0f, exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

TEST(VectorBytes, EveryFiniteHalfIsItself) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7C00) == 0x7C00) continue;
    auto half = static_cast<uint16_t>(bits);
    ASSERT_EQ(bits_of(value_of_half(half), VectorType::kFloat16), half) << bits;
  }
}

// Between two neighbours: the nearer one, and at the middle the even one.
TEST(VectorBytes, HalvesAreRoundedToTheNearest) {
  for (uint32_t bits = 0; bits < 0x7BFF; ++bits) {
    const float low = value_of_half(static_cast<uint16_t>(bits));
    const float high = value_of_half(static_cast<uint16_t>(bits + 1));
    const float middle = (low + high) / 2;
    const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(bits_of(middle, VectorType::kFloat16), even) << bits;
    ASSERT_EQ(bits_of(std::nextafter(middle, low), VectorType::kFloat16), bits) << bits;
    ASSERT_EQ(bits_of(std::nextafter(middle, high), VectorType::kFloat16), bits + 1) << bits;
  }
}

TEST(VectorBytes, TheEndsOfTheRanges) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(bits_of(65519.0f, VectorType::kFloat16), 0x7BFF);
  EXPECT_EQ(bits_of(65520.0f, VectorType::kFloat16), 0x7C00);
  EXPECT_EQ(bits_of(-1e30f, VectorType::kFloat16), 0xFC00);
  EXPECT_EQ(bits_of(1e-30f, VectorType::kFloat16), 0);
  EXPECT_EQ(bits_of(-1e-30f, VectorType::kFloat16), 0x8000);
  EXPECT_EQ(bits_of(kInfinity, VectorType::kBfloat16), 0x7F80);
  EXPECT_EQ(bits_of(std::numeric_limits<float>::max(), VectorType::kBfloat16), 0x7F80);
  for (VectorType type : {VectorType::kFloat16, VectorType::kBfloat16}) {
    const uint16_t infinity = type == VectorType::kFloat16 ? 0x7C00 : 0x7F80;
    EXPECT_GT(bits_of(std::numeric_limits<float>::quiet_NaN(), type) & 0x7FFF, infinity);
  }
  EXPECT_EQ(bits_of(1.0f, VectorType::kBfloat16), 0x3F80);
  EXPECT_EQ(bits_of(1.00390625f, VectorType::kBfloat16), 0x3F80) << "a tie goes to the even one";
  EXPECT_EQ(bits_of(1.01171875f, VectorType::kBfloat16), 0x3F82);
}

TEST(VectorBytes, BothByteOrders) {
  const std::vector<float> values = {1.0f, -2.5f};
  EXPECT_EQ(vector_bytes(values, VectorType::kFloat32, false), std::string("\x00\x00\x80\x3F\x00\x00\x20\xC0", 8));
  EXPECT_EQ(vector_bytes(values, VectorType::kFloat32, true), std::string("\x3F\x80\x00\x00\xC0\x20\x00\x00", 8));
  EXPECT_EQ(vector_bytes(values, VectorType::kFloat16, true), std::string("\x3C\x00\xC1\x00", 4));
  EXPECT_EQ(vector_bytes({}, VectorType::kFloat16, true), "");
  EXPECT_EQ(type_name(VectorType::kBfloat16), "bfloat16");
}

}  // namespace
}  // namespace millrace::api
