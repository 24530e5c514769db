#include "app/logits_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

namespace millrace::app {
namespace {

std::string temp_path(const char* name) {
  return ::testing::TempDir() + "millrace_" + name + "_" + std::to_string(::getpid());
}

template <typename T>
void append(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

// Two windows of 6 tokens over 5 words: rows for positions 3 and 4. Value v of row r is 100 * r + v.
std::string llama_base() {
  std::string out = "_logits_";
  append<uint32_t>(out, 6);
  append<int32_t>(out, 5);
  append<int32_t>(out, 2);
  for (int32_t token = 0; token < 12; ++token) append(out, token % 5);
  for (uint16_t row = 0; row < 4; ++row) {
    append(out, 0.5F);
    append(out, -8.0F);
    for (uint16_t v = 0; v < 6; ++v) append(out, static_cast<uint16_t>(row * 100 + v));
  }
  return out;
}

TEST(LogitsFileTest, ReadsTheBaseOfLlamaPerplexity) {
  std::string path = temp_path("llama_base");
  ASSERT_TRUE(write_file_atomic(path, llama_base()).ok());
  LogitsReader reader = LogitsReader::open(path).value();
  EXPECT_EQ(reader.head().n_vocab, 5U);
  EXPECT_EQ(reader.head().n_ctx, 6U);
  EXPECT_EQ(reader.first_position(), 3U);
  EXPECT_TRUE(reader.bos_replaces_first());
  EXPECT_EQ(reader.floor(), -16.0);
  EXPECT_EQ(reader.tokens(1), (std::vector<TokenId>{1, 2, 3, 4, 0, 1}));
  std::vector<float> row(5);
  reader.row(1, 4, row);
  EXPECT_EQ(row, (std::vector<float>{142.0F, 142.5F, 143.0F, 143.5F, 144.0F}));
  ::unlink(path.c_str());
}

TEST(LogitsFileTest, WritesWhatItReads) {
  std::string path = temp_path("own_base");
  const std::vector<TokenId> tokens = {1, 0, 1};
  const std::vector<float> rows = {-0.5F, -1.0F, -2.0F, -0.25F};
  LogitsWriter writer = LogitsWriter::create(path, {.n_vocab = 2, .n_ctx = 3, .n_windows = 2}).value();
  ASSERT_TRUE(writer.window(tokens, rows).ok());
  ASSERT_TRUE(writer.window(tokens, rows).ok());
  ASSERT_TRUE(writer.close().ok());
  LogitsReader reader = LogitsReader::open(path).value();
  EXPECT_EQ(reader.first_position(), 0U);
  EXPECT_FALSE(reader.bos_replaces_first());
  EXPECT_EQ(reader.tokens(1), tokens);
  std::vector<float> row(2);
  reader.row(1, 1, row);
  EXPECT_EQ(row, (std::vector<float>{-2.0F, -0.25F}));
  ::unlink(path.c_str());
}

TEST(LogitsFileTest, ACutOrForeignFileIsRefused) {
  std::string path = temp_path("cut_base");
  std::string whole = llama_base();
  for (size_t size : {size_t{0}, size_t{7}, size_t{19}, whole.size() - 1, whole.size() + 1}) {
    std::string bytes = whole;
    bytes.resize(size, 'x');
    ASSERT_TRUE(write_file_atomic(path, bytes).ok());
    EXPECT_FALSE(LogitsReader::open(path).ok()) << size;
  }
  std::string huge = whole;
  std::memset(huge.data() + 8, 0xff, 12);
  ASSERT_TRUE(write_file_atomic(path, huge).ok());
  EXPECT_FALSE(LogitsReader::open(path).ok());
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace millrace::app
