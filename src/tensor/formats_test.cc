// Every row of kFormats: the decoder against values made by the public `gguf` package (tools/golden/formats.py), the
// encoder by round trip, the table by its own consistency.
#include "tensor/formats.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/philox.h"
#include "tensor/float16.h"
#include "tensor/tensor_view.h"

namespace millrace::tensor {
namespace {

constexpr size_t kGoldenValues = 4096;  // per format

std::vector<uint8_t> philox_bytes(uint64_t key, size_t n_bytes) {
  std::vector<uint8_t> out((n_bytes + 15) / 16 * 16);
  for (uint32_t block = 0; block * 16 < out.size(); ++block) {
    PhiloxBlock words = philox4x32(key, {block, 0, 0, 0});
    std::memcpy(out.data() + block * 16, words.data(), 16);
  }
  out.resize(n_bytes);
  return out;
}

void repair_u16(uint8_t* bytes, uint16_t exponent) {
  uint16_t word = load_u16(bytes);
  if ((word & exponent) == exponent) word = static_cast<uint16_t>(word ^ 0x4000u);
  store_u16(bytes, word);
}

uint32_t repair_f32(uint32_t word) { return (word & 0x7F800000u) == 0x7F800000u ? word ^ 0x40000000u : word; }

std::vector<uint32_t> scale_offsets(Format format) {
  switch (format) {
    case Format::kQ4_1:
    case Format::kQ5_1:
    case Format::kQ4_K:
    case Format::kQ5_K:
      return {0, 2};
    case Format::kQ2_K:
      return {80, 82};
    case Format::kQ3_K:
      return {108};
    case Format::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

std::vector<uint8_t> golden_groups(const FormatInfo& info) {
  size_t n_groups = kGoldenValues / info.group_values;
  std::vector<uint8_t> bytes = philox_bytes(0x6D72 + static_cast<uint64_t>(info.format), n_groups * info.group_bytes);
  for (size_t i = 0; i < n_groups; ++i) {
    uint8_t* group = bytes.data() + i * info.group_bytes;
    if (info.format == Format::kF32) {
      uint32_t word = 0;
      std::memcpy(&word, group, 4);
      word = repair_f32(word);
      std::memcpy(group, &word, 4);
    } else if (info.format == Format::kBF16) {
      repair_u16(group, 0x7F80);
    } else {
      for (uint32_t at : scale_offsets(info.format)) repair_u16(group + at, 0x7C00);
    }
  }
  return bytes;
}

std::string golden_file(const char* name) { return std::string(MILLRACE_SOURCE_DIR "/tests/golden/data/") + name; }

TEST(Formats, DecodersAreBitExactWithTheGgufPackage) {
  Result<std::string> golden = read_file(golden_file("formats.f32"), 1 << 20);
  ASSERT_TRUE(golden.ok()) << golden.error().message;
  ASSERT_EQ(golden->size(), kGoldenValues * kNFormats * sizeof(float));
  for (const FormatInfo& info : kFormats) {
    std::vector<uint32_t> want(kGoldenValues);
    std::memcpy(want.data(), golden->data() + static_cast<size_t>(info.format) * kGoldenValues * 4, kGoldenValues * 4);
    std::vector<uint8_t> groups = golden_groups(info);
    std::vector<float> got(kGoldenValues);
    info.decode(got.data(), groups.data(), static_cast<int64_t>(kGoldenValues / info.group_values));
    size_t n_different = 0;
    for (size_t i = 0; i < kGoldenValues; ++i) {
      float expected = std::bit_cast<float>(want[i]);
      bool same = std::bit_cast<uint32_t>(got[i]) == want[i] || (got[i] == 0.0f && expected == 0.0f);
      if (same || n_different++ > 0) continue;
      ADD_FAILURE() << info.name << " value " << i << ": " << got[i] << ", want " << expected;
    }
    EXPECT_EQ(n_different, 0u) << info.name;
  }
}

TEST(Formats, TableIsConsistent) {
  for (int i = 0; i < kNFormats; ++i) {
    const FormatInfo& info = kFormats[i];
    EXPECT_EQ(static_cast<int>(info.format), i);
    EXPECT_EQ(format_of_gguf_type(info.gguf_type), &info);
    EXPECT_EQ(format_of_name(info.name), &info);
    EXPECT_EQ(row_bytes(info.format, 512), 512 / info.group_values * info.group_bytes);
    EXPECT_EQ(info.codes != nullptr, info.group_values > 1);
  }
  EXPECT_EQ(format_of_name("q4_k"), &format_info(Format::kQ4_K));
  EXPECT_EQ(format_of_name("Q4_K_M"), nullptr);
  EXPECT_EQ(format_of_gguf_type(999), nullptr);
}

// Largest round-trip error of a group of |x| <= 1, as a share of the range: half a step of the coarsest sub-group,
// plus what rounding of the stored scales adds.
double round_trip_bound(Format format) {
  switch (format) {
    case Format::kF32:
      return 0.0;
    case Format::kF16:
      return 0x1p-11;
    case Format::kBF16:
      return 0x1p-8;
    case Format::kQ8_0:
      return 0.006;
    case Format::kQ6_K:
      return 0.05;
    case Format::kQ5_0:
    case Format::kQ5_1:
    case Format::kQ5_K:
      return 0.07;
    case Format::kQ4_0:
    case Format::kQ4_1:
    case Format::kQ4_K:
    case Format::kIQ4_NL:
    case Format::kIQ4_XS:
      return 0.16;
    case Format::kQ3_K:
      return 0.35;
    case Format::kQ2_K:
      return 0.6;
  }
  return 0.0;
}

TEST(Formats, EncodersRoundTrip) {
  std::vector<float> x(2048);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = 2.0f * philox_unit_f32(philox4x32(9, {static_cast<uint32_t>(i), 0, 0, 0})[0]) - 1.0f;
  }
  for (const FormatInfo& info : kFormats) {
    auto n_groups = static_cast<int64_t>(x.size() / info.group_values);
    std::vector<uint8_t> groups(static_cast<size_t>(n_groups) * info.group_bytes, 0xFF);
    info.encode(groups.data(), x.data(), n_groups);
    std::vector<float> back(x.size());
    info.decode(back.data(), groups.data(), n_groups);
    double bound = round_trip_bound(info.format);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_LE(std::fabs(back[i] - x[i]), bound) << info.name;
  }
}

TEST(Formats, ZeroStaysZero) {
  std::vector<float> zeros(256, 0.0f);
  for (const FormatInfo& info : kFormats) {
    auto n_groups = static_cast<int64_t>(256 / info.group_values);
    std::vector<uint8_t> groups(static_cast<size_t>(n_groups) * info.group_bytes, 0xFF);
    info.encode(groups.data(), zeros.data(), n_groups);
    std::vector<float> back(256, 1.0f);
    info.decode(back.data(), groups.data(), n_groups);
    for (float value : back) ASSERT_EQ(value, 0.0f) << info.name;
  }
}

TEST(Formats, GroupScalesSeeInfinity) {
  for (const FormatInfo& info : kFormats) {
    std::vector<uint8_t> group(info.group_bytes, 0);
    GroupScales scales = group_scales(info.format, group.data());
    if (info.group_values == 1) {
      EXPECT_EQ(scales.n, 0);
      continue;
    }
    std::vector<uint32_t> offsets = scale_offsets(info.format);
    ASSERT_EQ(static_cast<size_t>(scales.n), offsets.size());
    store_u16(group.data() + offsets.back(), 0x7C00);
    EXPECT_TRUE(std::isinf(group_scales(info.format, group.data()).scale[offsets.size() - 1])) << info.name;
  }
}

uint64_t fnv1a(const void* data, size_t n, uint64_t hash = 0xCBF29CE484222325u) {
  for (size_t i = 0; i < n; ++i) hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001B3u;
  return hash;
}

std::string hex16(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

TEST(Float16, ConversionsAreThoseOfNumpy) {
  Result<std::string> text = read_file(golden_file("formats.json"), 1 << 16);
  ASSERT_TRUE(text.ok()) << text.error().message;
  Json want = parse_json(*text).value();

  uint64_t widened = fnv1a(nullptr, 0);
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    if ((bits & 0x7C00u) == 0x7C00u) continue;
    float value = f16_to_f32(static_cast<uint16_t>(bits));
    widened = fnv1a(&value, 4, widened);
    ASSERT_EQ(f32_to_f16(value), bits);
  }
  EXPECT_EQ(hex16(widened), want.find("f16_to_f32")->as_string());

  std::vector<uint8_t> bytes = philox_bytes(77, 1 << 20);
  uint64_t to_f16 = fnv1a(nullptr, 0);
  uint64_t to_bf16 = to_f16;
  for (size_t i = 0; i < bytes.size() / 4; ++i) {
    uint32_t word = 0;
    std::memcpy(&word, bytes.data() + i * 4, 4);
    word = repair_f32(word);
    if (i % 2 == 0) {
      word = (word & 0x807FFFFFu) | ((word >> 23) % 48 + 96) << 23;
      if (i % 3 == 0) word &= 0xFFFFF000u;
    }
    uint16_t half = f32_to_f16(std::bit_cast<float>(word));
    uint16_t brain = f32_to_bf16(std::bit_cast<float>(word));
    to_f16 = fnv1a(&half, 2, to_f16);
    to_bf16 = fnv1a(&brain, 2, to_bf16);
  }
  EXPECT_EQ(hex16(to_f16), want.find("f32_to_f16")->as_string());
  EXPECT_EQ(hex16(to_bf16), want.find("f32_to_bf16")->as_string());
}

TEST(Float16, InfinityAndNan) {
  EXPECT_EQ(f32_to_f16(INFINITY), 0x7C00);
  EXPECT_EQ(f32_to_f16(-INFINITY), 0xFC00);
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(NAN))));
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(NAN))));
  EXPECT_TRUE(std::isinf(f16_to_f32(0xFC00)));
  EXPECT_EQ(f32_to_bf16(INFINITY), 0x7F80);
}

TEST(TensorView, RowsAreDecoded) {
  std::vector<float> x(3 * 64);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const FormatInfo& info = format_info(Format::kQ4_0);
  std::vector<uint8_t> bytes(3 * static_cast<size_t>(row_bytes(Format::kQ4_0, 64)));
  info.encode(bytes.data(), x.data(), 6);
  TensorView view{Format::kQ4_0, {3, 64}, bytes.data(), bytes.size()};
  EXPECT_EQ(view.rows(), 3);
  EXPECT_EQ(row_data(view, 2), bytes.data() + 2 * 36);
  std::vector<float> whole(x.size());
  info.decode(whole.data(), bytes.data(), 6);
  std::vector<float> row(64);
  decode_row(row.data(), view, 1);
  EXPECT_TRUE(std::equal(row.begin(), row.end(), whole.begin() + 64));
}

TEST(Shape, RowMajor) {
  Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rows(), 6);
  EXPECT_EQ(shape.cols(), 4);
  EXPECT_EQ(shape.text(), "2x3x4");
  EXPECT_EQ(Shape({5}).rows(), 1);
  EXPECT_FALSE(Shape({2, 3}) == Shape({3, 2}));
}

}  // namespace
}  // namespace millrace::tensor
