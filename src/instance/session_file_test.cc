// Session files: what was written is read back; everything else is refused with what is wrong.
#include "instance/session_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "tests/support/temp_dir.h"

namespace millrace::instance {
namespace {

using ::testing::HasSubstr;

runtime::RecordLayout layout_of(uint8_t first) {
  return {.layout = {first, 2, 3}, .block_tokens = 4, .block_bytes = 10};
}

flow::SessionCopy example() {
  flow::SessionCopy session{.cache_salt = "pepper", .tokens = {}, .blocks = {}};
  for (TokenId i = 0; i < 11; ++i) session.tokens.push_back(i * i);
  session.blocks.push_back({.kv_groups = 1, .bytes = std::vector<uint8_t>(10, 7)});
  session.blocks.push_back({.kv_groups = 3, .bytes = std::vector<uint8_t>(20, 9)});
  return session;
}

class SessionFileTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(write_session(path(), layout_of(1), example()).ok()); }
  std::string path() const { return dir_.path() + "/talk.bin"; }
  std::string whole() const { return read_file(path(), 1 << 20).value(); }
  std::string fault_of(const std::string& bytes) {
    dir_.write("bad.bin", bytes);
    Result<SessionFile> read = read_session(dir_.path() + "/bad.bin", layout_of(1), 1 << 20);
    return read.ok() ? "" : read.error().message;
  }
  testing::TempDir dir_;
};

TEST_F(SessionFileTest, WhatWasWrittenIsReadBack) {
  Result<SessionFile> read = read_session(path(), layout_of(1), 1 << 20);
  ASSERT_TRUE(read.ok()) << read.error().message;
  flow::SessionCopy want = example();
  EXPECT_EQ(read->session.cache_salt, want.cache_salt);
  EXPECT_EQ(read->session.tokens, want.tokens);
  ASSERT_EQ(read->session.blocks.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(read->session.blocks[i].kv_groups, want.blocks[i].kv_groups);
    EXPECT_EQ(read->session.blocks[i].bytes, want.blocks[i].bytes);
  }
  EXPECT_EQ(read->n_bytes, std::filesystem::file_size(path()));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()), {}), 1);  // nothing was left aside
}

TEST_F(SessionFileTest, EveryChangedByteAndEveryCutIsRefused) {
  std::string bytes = whole();
  for (size_t at = 0; at < bytes.size(); at += 5) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    EXPECT_NE(fault_of(changed), "") << "byte " << at;
    EXPECT_NE(fault_of(bytes.substr(0, at)), "") << "cut at " << at;
  }
  EXPECT_THAT(fault_of(bytes + "x"), HasSubstr("1 bytes too many"));
  EXPECT_THAT(fault_of("not a session at all, but long enough for a head"), HasSubstr("not a saved session"));
}

TEST_F(SessionFileTest, ForeignAndMissingFilesSayWhy) {
  Result<SessionFile> foreign = read_session(path(), layout_of(2), 1 << 20);
  ASSERT_FALSE(foreign.ok());
  EXPECT_THAT(foreign.error().message, HasSubstr("of another model or layout"));
  Result<SessionFile> large = read_session(path(), layout_of(1), 100);
  ASSERT_FALSE(large.ok());
  EXPECT_THAT(large.error().message, HasSubstr("exceed limit 100"));
  Result<SessionFile> missing = read_session(dir_.path() + "/none", layout_of(1), 100);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  std::filesystem::create_directory(dir_.path() + "/folder");
  EXPECT_FALSE(read_session(dir_.path() + "/folder", layout_of(1), 100).ok());
  EXPECT_FALSE(write_session(dir_.path() + "/no/such/folder", layout_of(1), example()).ok());
}

TEST_F(SessionFileTest, NamesAreNeverPaths) {
  for (const char* name : {"talk.bin", "A-b_c.1", "x"}) EXPECT_TRUE(check_session_name(name).ok()) << name;
  for (const char* name : {"", ".", "..", "../x", "/etc/passwd", "a/b", ".hidden", "a b", "a\n", "\xc3\xa9"}) {
    EXPECT_FALSE(check_session_name(name).ok()) << name;
  }
  EXPECT_FALSE(check_session_name(std::string(129, 'a')).ok());
  EXPECT_FALSE(check_session_name(std::string_view("a\0b", 3)).ok());
}

TEST_F(SessionFileTest, AListingTellsWhatCanBeUsed) {
  dir_.write("broken.bin", "MRKVSES");
  auto rows = list_sessions(dir_.path());
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ(rows->at(0).name, "broken.bin");
  EXPECT_THAT(rows->at(0).fault, HasSubstr("too short"));
  EXPECT_EQ(rows->at(1).name, "talk.bin");
  EXPECT_EQ(rows->at(1).n_tokens, 11u);
  EXPECT_EQ(rows->at(1).fault, "");
  EXPECT_FALSE(list_sessions(dir_.path() + "/none").ok());
}

}  // namespace
}  // namespace millrace::instance
