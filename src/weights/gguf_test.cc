// GgufFile on files it must read: metadata of every type, tensors, split files, and the two real models.
#include "weights/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tensor/formats.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_dir.h"

namespace millrace::weights {
namespace {

using tensor::Format;
using testing::GgufWriter;
using ::testing::HasSubstr;
using testing::TempDir;

std::vector<float> ramp(size_t n) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(i) - 3.0f;
  return out;
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  GgufWriter writer;
  writer.add("text", "h\xC3\xA9llo");
  writer.add_u32("u32", 7);
  writer.add_i32("i32", -7);
  writer.add_u64("u64", uint64_t{1} << 40);
  writer.add_f32("f32", 0.5f);
  writer.add_bool("bool", true);
  writer.add_strings("strings", std::vector<std::string>{"a", "", "ccc"});
  writer.add_floats("floats", std::vector<float>{1.5f, -2.0f});
  writer.add_ints("ints", std::vector<int32_t>{-1, 2, 3});
  std::vector<uint8_t> bytes = writer.build();
  for (uint8_t version : {uint8_t{2}, uint8_t{3}}) {
    bytes[4] = version;
    Result<GgufFile> file = GgufFile::parse(bytes);
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->version(), version);
    EXPECT_EQ(file->values().size(), 9u);
    EXPECT_EQ(file->get_string("text").value(), "h\xC3\xA9llo");
    EXPECT_EQ(file->get_int("u32", {0, 10}).value(), 7);
    EXPECT_EQ(file->get_int("i32", {-10, 10}).value(), -7);
    EXPECT_EQ(file->get_int("u64", {0, int64_t{1} << 50}).value(), int64_t{1} << 40);
    EXPECT_EQ(file->get_float("f32", {0.0, 1.0}).value(), 0.5);
    EXPECT_EQ(file->get_float("u32", {0.0, 10.0}).value(), 7.0);
    EXPECT_TRUE(file->get_bool("bool").value());
    EXPECT_EQ(file->get_strings("strings").value(), (std::vector<std::string_view>{"a", "", "ccc"}));
    EXPECT_EQ(file->get_floats("floats").value(), (std::vector<float>{1.5f, -2.0f}));
    EXPECT_EQ(file->get_ints("ints").value(), (std::vector<int64_t>{-1, 2, 3}));
    EXPECT_EQ(file->find("none"), nullptr);
  }
}

TEST(Gguf, GettersSayWhatIsWrong) {
  GgufWriter writer;
  writer.add("text", "x");
  writer.add_u32("zero", 0);
  writer.add_u64("huge", ~uint64_t{0});
  writer.add_f32("nan", std::numeric_limits<float>::quiet_NaN());
  writer.add_raw("odd_bool", 7, std::vector<uint8_t>{2});
  writer.add_strings("strings", std::vector<std::string>{"a"});
  std::vector<uint8_t> bytes = writer.build();
  GgufFile file = GgufFile::parse(bytes, "x.gguf").value();
  EXPECT_THAT(file.get_int("zero", {1, 1024}).error().message, HasSubstr("x.gguf: zero = 0: must be 1..1024"));
  EXPECT_THAT(file.get_int("huge", {1, 8}).error().message, HasSubstr("huge = 18446744073709551615: must be 1..8"));
  EXPECT_THAT(file.get_int("text", {1, 8}).error().message, HasSubstr("text has type STRING, want an integer"));
  EXPECT_THAT(file.get_int("none", {1, 8}).error().message, HasSubstr("none is missing"));
  EXPECT_THAT(file.get_float("nan", {0, 1}).error().message, HasSubstr("nan = nan: must be 0..1"));
  EXPECT_THAT(file.get_bool("odd_bool").error().message, HasSubstr("odd_bool = 2: must be 0..1"));
  EXPECT_THAT(file.get_string("zero").error().message, HasSubstr("zero has type UINT32, want STRING"));
  EXPECT_THAT(file.get_ints("strings").error().message, HasSubstr("has type ARRAY of STRING"));
  EXPECT_EQ(file.get_int("none", {1, 8}, 5).value(), 5);
  EXPECT_EQ(file.get_string("none", "d").value(), "d");
}

TEST(Gguf, ReversesExtentsAndFindsBytes) {
  for (uint64_t alignment : {uint64_t{32}, uint64_t{8}, uint64_t{64}}) {
    GgufWriter writer;
    writer.alignment = alignment;
    writer.add_tensor("a", Format::kF32, {3}, ramp(3));
    writer.add_tensor("b", Format::kQ4_0, {2, 64}, ramp(128));
    std::vector<uint8_t> bytes = writer.build();
    Result<GgufFile> file = GgufFile::parse(bytes);
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->names(), (std::vector<std::string_view>{"a", "b"}));
    EXPECT_EQ(file->bytes(), 12u + 72u);
    tensor::TensorView b = file->tensor("b").value();
    EXPECT_EQ(b.shape.text(), "2x64");
    EXPECT_EQ(b.format, Format::kQ4_0);
    float values[3];
    tensor::decode_row(values, file->tensor("a").value(), 0);
    EXPECT_EQ(values[2], -1.0f);
    EXPECT_FALSE(file->tensor("c").ok());
  }
}

// A model of three parts in the layout of llama.cpp's gguf-split: metadata in the first.
void write_split(const TempDir& dir) {
  for (int part = 0; part < 3; ++part) {
    GgufWriter writer;
    uint16_t no = static_cast<uint16_t>(part);
    writer.add_raw("split.no", 2, std::vector<uint8_t>{static_cast<uint8_t>(no), 0});
    writer.add_raw("split.count", 2, std::vector<uint8_t>{3, 0});
    writer.add_i32("split.tensors.count", 3);
    if (part == 0) writer.add("general.name", "three parts");
    writer.add_tensor("t" + std::to_string(part), Format::kF32, {8}, ramp(8));
    dir.write("m-0000" + std::to_string(part + 1) + "-of-00003.gguf", writer.build());
  }
}

TEST(Gguf, OpensSplitFiles) {
  TempDir dir;
  write_split(dir);
  Result<GgufFile> file = GgufFile::open(dir.file("m-00001-of-00003.gguf"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->get_string("general.name").value(), "three parts");
  EXPECT_EQ(file->names(), (std::vector<std::string_view>{"t0", "t1", "t2"}));
  float values[8];
  tensor::decode_row(values, file->tensor("t2").value(), 0);
  EXPECT_EQ(values[7], 4.0f);
  file->release("t2");
  tensor::decode_row(values, file->tensor("t2").value(), 0);
  EXPECT_EQ(values[7], 4.0f);
  Result<GgufFile> second = GgufFile::open(dir.file("m-00002-of-00003.gguf"));
  EXPECT_THAT(second.error().message, HasSubstr("not the first part"));
}

TEST(Gguf, TruncationAfterOpenIsAnError) {
  TempDir dir;
  GgufWriter writer;
  writer.add_tensor("a", Format::kF32, {64}, ramp(64));
  std::string path = dir.write("m.gguf", writer.build());
  GgufFile file = GgufFile::open(path).value();
  EXPECT_TRUE(file.tensor("a").ok());
  std::filesystem::resize_file(path, 100);
  EXPECT_THAT(file.tensor("a").error().message, HasSubstr("file changed during load"));
}

TEST(Gguf, RealFiles) {
  Result<GgufFile> smol = GgufFile::open(MILLRACE_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
  ASSERT_TRUE(smol.ok()) << smol.error().message;
  EXPECT_EQ(smol->names().size(), 272u);
  EXPECT_EQ(smol->get_strings("tokenizer.ggml.tokens").value().size(), 49152u);
  EXPECT_EQ(smol->get_strings("tokenizer.ggml.merges").value().size(), 48900u);
  tensor::TensorView down = smol->tensor("blk.0.ffn_down.weight").value();
  EXPECT_EQ(down.shape.text(), "576x1536");
  EXPECT_EQ(down.bytes, 552960u);
  Result<GgufFile> gemma = GgufFile::open(MILLRACE_SOURCE_DIR "/models/gemma-3-270m-q4_k_m.gguf");
  ASSERT_TRUE(gemma.ok()) << gemma.error().message;
  EXPECT_EQ(gemma->names().size(), 236u);
  EXPECT_EQ(gemma->get_strings("tokenizer.ggml.tokens").value().size(), 262144u);
  EXPECT_EQ(gemma->get_floats("tokenizer.ggml.scores").value().size(), 262144u);
}

}  // namespace
}  // namespace millrace::weights
