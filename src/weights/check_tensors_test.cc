#include "weights/check_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/formats.h"
#include "tests/support/gguf_writer.h"
#include "weights/gguf.h"

namespace millrace::weights {
namespace {

using testing::GgufWriter;

struct File {
  explicit File(tensor::Format format) {
    GgufWriter writer;
    std::vector<float> values;
    for (int i = 0; i < 1024; ++i) values.push_back(static_cast<float>(i % 61) - 20.5f);
    writer.add_tensor("x", format, {2, 512}, values);
    bytes = writer.build();
    at = static_cast<size_t>(GgufFile::parse(bytes).value().tensor("x").value().data - bytes.data());
  }
  std::string error() const {
    auto checked = check_tensors(GgufFile::parse(bytes).value(), "m.gguf");
    return checked.ok() ? "" : checked.error().message;
  }
  bool decodes_finite(const tensor::FormatInfo& info, size_t group) const {
    std::vector<float> out(info.group_values);
    info.decode(out.data(), bytes.data() + at + group * info.group_bytes, 1);
    return std::all_of(out.begin(), out.end(), [](float value) { return std::isfinite(value); });
  }
  std::vector<uint8_t> bytes;
  size_t at = 0;  // of the tensor's data
};

// An infinity written at any place of a group: what the reference decoder cannot decode to finite numbers is found.
TEST(CheckTensors, FindsWhatDoesNotDecodeInEveryFormat) {
  for (const tensor::FormatInfo& info : tensor::kFormats) {
    File file(info.format);
    EXPECT_EQ(file.error(), "") << info.name;
    const std::vector<uint8_t> good = file.bytes;
    const size_t group = 1024 / info.group_values / 2;
    size_t n_bad = 0;
    for (size_t i = 0; i + 1 < std::max<size_t>(info.group_bytes, 2); ++i) {
      file.bytes = good;
      uint8_t* place = file.bytes.data() + file.at + group * info.group_bytes + i;
      place[0] = 0x80;
      place[1] = info.format == tensor::Format::kBF16 || info.format == tensor::Format::kF32 ? 0x7F : 0x7C;
      const bool finite = file.decodes_finite(info, group);
      EXPECT_EQ(file.error().empty(), finite) << info.name << " byte " << i << ": " << file.error();
      n_bad += finite ? 0u : 1u;
    }
    EXPECT_GE(n_bad, info.group_values == 1
                         ? 1u
                         : static_cast<size_t>(tensor::group_scales(info.format, good.data() + file.at).n))
        << info.name;
  }
}

TEST(CheckTensors, NamesThePlace) {
  File quantised(tensor::Format::kQ8_0);
  quantised.bytes[quantised.at + 17 * 34 + 1] = 0x7C;
  quantised.bytes[quantised.at + 17 * 34] = 0;
  EXPECT_EQ(quantised.error(), "m.gguf: tensor \"x\" block 17 has non-finite scale");
  File floats(tensor::Format::kF16);
  floats.bytes[floats.at + 700 * 2 + 1] = 0xFE;
  EXPECT_EQ(floats.error(), "m.gguf: tensor \"x\" value 700 is not finite");
}

}  // namespace
}  // namespace millrace::weights
