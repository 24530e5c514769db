// SafetensorsDir on folders it must read: one file, shards, links of a hub cache, optional files.
#include "weights/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/byte_reader.h"
#include "tensor/formats.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"

namespace millrace::weights {
namespace {

using ::testing::HasSubstr;
using testing::SafetensorsWriter;
using testing::TempDir;

std::vector<float> ramp(size_t n) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(i);
  return out;
}

TEST(Safetensors, ParsesTheThreeDtypes) {
  SafetensorsWriter writer;
  writer.add("a", "F32", {2, 3}, ramp(6));
  writer.add("b", "F16", {5}, ramp(5));
  writer.add("c", "BF16", {2, 2}, ramp(4));
  std::string bytes = writer.build();
  auto entries = parse_safetensors(as_bytes(bytes));
  ASSERT_TRUE(entries.ok()) << entries.error().message;
  ASSERT_EQ(entries->size(), 3u);
  for (const SafetensorsEntry& entry : *entries) {
    std::vector<float> row(static_cast<size_t>(entry.view.cols()));
    tensor::decode_row(row.data(), entry.view, entry.view.rows() - 1);
    EXPECT_EQ(row.back(), static_cast<float>(entry.view.shape.n_values() - 1)) << entry.name;
  }
}

TEST(Safetensors, HeaderMayBePaddedAndHoldMetadata) {
  std::string header = R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )";
  std::string bytes = SafetensorsWriter::frame(header, "\x01\x02\x03\x04");
  auto entries = parse_safetensors(as_bytes(bytes));
  ASSERT_TRUE(entries.ok()) << entries.error().message;
  EXPECT_EQ((*entries)[0].view.shape.text(), "1");
}

TEST(Safetensors, OpensAFolder) {
  TempDir dir;
  SafetensorsWriter writer;
  writer.add("w", "BF16", {4, 4}, ramp(16));
  dir.write("model.safetensors", writer.build());
  dir.write("config.json", R"({"model_type":"llama"})");
  Result<SafetensorsDir> opened = SafetensorsDir::open(dir.path());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(opened->config().find("model_type")->as_string(), "llama");
  EXPECT_EQ(opened->generation_config(), nullptr);
  EXPECT_EQ(opened->tokenizer_config(), nullptr);
  EXPECT_FALSE(opened->tokenizer_json().has_value());
  EXPECT_FALSE(opened->chat_template().has_value());
  EXPECT_EQ(opened->bytes(), 32u);
  EXPECT_TRUE(opened->has("w"));
  EXPECT_FALSE(opened->tensor("v").ok());

  dir.write("generation_config.json", R"({"eos_token_id":[1,2]})");
  dir.write("tokenizer_config.json", R"({"add_bos_token":true})");
  dir.write("tokenizer.json", "{}");
  dir.write("chat_template.jinja", "{{ messages }}");
  Result<SafetensorsDir> full = SafetensorsDir::open(dir.path());
  ASSERT_TRUE(full.ok()) << full.error().message;
  EXPECT_EQ(full->generation_config()->find("eos_token_id")->size(), 2u);
  EXPECT_NE(full->tokenizer_config(), nullptr);
  EXPECT_EQ(*full->tokenizer_json(), "{}");
  EXPECT_EQ(*full->chat_template(), "{{ messages }}");
  std::filesystem::resize_file(dir.file("model.safetensors"), 10);
  EXPECT_THAT(full->tensor("w").error().message, HasSubstr("file changed during load"));
}

void write_shards(const TempDir& dir) {
  for (const char* name : {"a", "b"}) {
    SafetensorsWriter writer;
    writer.add(name, "F32", {8}, ramp(8));
    dir.write(std::string("shard-") + name + ".safetensors", writer.build());
  }
  dir.write("config.json", "{}");
  dir.write("model.safetensors.index.json",
            R"({"metadata":{},"weight_map":{"a":"shard-a.safetensors","b":"shard-b.safetensors"}})");
}

TEST(Safetensors, OpensShards) {
  TempDir dir;
  write_shards(dir);
  Result<SafetensorsDir> opened = SafetensorsDir::open(dir.path());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(opened->names(), (std::vector<std::string_view>{"a", "b"}));
}

TEST(Safetensors, HubCacheLinksAreFollowed) {
  TempDir dir;
  std::filesystem::create_directories(dir.file("blobs"));
  std::filesystem::create_directories(dir.file("snapshots/rev"));
  SafetensorsWriter writer;
  writer.add("w", "F32", {2}, ramp(2));
  dir.write("blobs/one", writer.build());
  dir.write("blobs/two", "{}");
  std::filesystem::create_symlink("../../blobs/one", dir.file("snapshots/rev/model.safetensors"));
  std::filesystem::create_symlink("../../blobs/two", dir.file("snapshots/rev/config.json"));
  Result<SafetensorsDir> opened = SafetensorsDir::open(dir.file("snapshots/rev"));
  ASSERT_TRUE(opened.ok()) << opened.error().message;
}

// Encoders' checkpoints carry their position numbers: checked, not listed. Other integers are refused.
TEST(Safetensors, PositionIdsAreLeftOut) {
  auto parse = [](const std::string& name, int end) {
    std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},")" + name +
                         R"(":{"dtype":"I64","shape":[1,2],"data_offsets":[8,)" + std::to_string(end) + "]}}";
    std::string bytes = testing::SafetensorsWriter::frame(header, std::string(static_cast<size_t>(end), 'x'));
    return parse_safetensors(as_bytes(bytes));
  };
  auto entries = parse("embeddings.position_ids", 24);
  ASSERT_TRUE(entries.ok()) << entries.error().message;
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(entries->front().name, "a");
  EXPECT_FALSE(parse("embeddings.position_ids", 16).ok());
  EXPECT_FALSE(parse("embeddings.other_ids", 24).ok());
}

}  // namespace
}  // namespace millrace::weights
