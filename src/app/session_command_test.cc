// millrace session against a running server: a conversation goes to a file and comes back, and what is wrong is said.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "app/commands.h"
#include "tests/support/server_fixture.h"
#include "tests/support/temp_dir.h"

namespace millrace::app {
namespace {

class SessionCommand : public ::testing::Test {
 protected:
  SessionCommand() : server_({}, {.session_folder = folder_.path()}) {}

  // Exit code, or the error.
  Result<int> session(std::vector<std::string> args) {
    if (args[0] == "list" || args[0] == "rm") {
      args.insert(args.end(), {"--slot-save-path", folder_.path()});
    } else {
      args.insert(args.end(), {"--url", "http://127.0.0.1:" + std::to_string(server_.port())});
    }
    ::testing::internal::CaptureStdout();
    Result<int> code = session_command(args);
    printed_ = ::testing::internal::GetCapturedStdout();
    return code;
  }
  int64_t cached_tokens() {
    testing::HttpClient client(server_.port());
    auto reply = client.post("/v1/completions",
                             R"({"prompt":")" + std::string(100, 'a') + R"(","max_tokens":1,"session_id":"talk"})");
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.json().get("usage")->get("prompt_tokens_details")->get("cached_tokens")->as_int();
  }
  void forget_everything() {
    EXPECT_EQ(testing::HttpClient(server_.port()).post("/reset_prefix_cache", "").status, 200);
  }
  bool on_disk(const std::string& name) const { return std::filesystem::exists(folder_.path() + "/" + name); }

  testing::TempDir folder_;
  testing::TestServer server_;
  std::string printed_;
};

TEST_F(SessionCommand, AConversationGoesToAFileAndComesBack) {
  EXPECT_EQ(cached_tokens(), 0);
  ASSERT_EQ(session({"save", "talk", "talk.bin"}).value(), 0) << printed_;
  EXPECT_NE(printed_.find(R"("n_saved":96)"), std::string::npos) << printed_;
  EXPECT_TRUE(on_disk("talk.bin"));
  ASSERT_EQ(session({"list"}).value(), 0);
  EXPECT_NE(printed_.find("talk.bin"), std::string::npos);
  EXPECT_NE(printed_.find(" tokens "), std::string::npos) << printed_;
  forget_everything();
  ASSERT_EQ(session({"restore", "talk", "talk.bin"}).value(), 0) << printed_;
  EXPECT_NE(printed_.find(R"("n_restored":96)"), std::string::npos) << printed_;
  EXPECT_EQ(cached_tokens(), 96) << "the next turn is a hit";
  ASSERT_EQ(session({"erase", "talk"}).value(), 0) << printed_;
  EXPECT_EQ(cached_tokens(), 0) << "forgotten";
  ASSERT_EQ(session({"rm", "talk.bin"}).value(), 0);
  EXPECT_FALSE(on_disk("talk.bin"));
}

TEST_F(SessionCommand, WhatIsWrongIsSaid) {
  EXPECT_EQ(session({"save", "nobody", "x.bin"}).value(), 1);
  EXPECT_NE(printed_.find("nobody"), std::string::npos) << printed_;
  EXPECT_EQ(session({"restore", "talk", "missing.bin"}).value(), 1);
  EXPECT_NE(printed_.find("missing.bin"), std::string::npos) << printed_;
  EXPECT_EQ(session({"rm", "missing.bin"}).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(session({"rm", "../x"}).ok()) << "no folders in names";
  EXPECT_EQ(session({"save", "talk"}).error().code, ErrorCode::kUsage);
  EXPECT_EQ(session({"shred", "talk"}).error().code, ErrorCode::kUsage);
  EXPECT_EQ(session_command(std::vector<std::string>{"list"}).error().code, ErrorCode::kUsage);
  EXPECT_FALSE(session_command(std::vector<std::string>{"erase", "talk", "--url", "http://127.0.0.1:1"}).ok());
}

}  // namespace
}  // namespace millrace::app
