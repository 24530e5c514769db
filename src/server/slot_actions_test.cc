// Saving, restoring and erasing conversations over HTTP, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/server_fixture.h"
#include "tests/support/temp_dir.h"

namespace millrace::server {
namespace {

using testing::ClientReply;
using testing::EchoOptions;
using ::testing::HasSubstr;
using testing::HttpClient;
using testing::TestServer;

std::string completion(const std::string& prompt, const std::string& more) {
  return R"({"prompt":")" + prompt + R"(","max_tokens":40)" + more + "}";
}

int64_t cached_tokens(const ClientReply& reply) {
  Json usage = *reply.json().find("usage");
  return usage.find("prompt_tokens_details")->find("cached_tokens")->as_int();
}

class SlotActions : public ::testing::Test {
 protected:
  SlotActions() : client_(server_.port()), prompt_(90, 'a') {
    for (size_t i = 0; i < prompt_.size(); ++i) prompt_[i] = static_cast<char>('a' + i * i % 26);
  }
  static EchoOptions echo(const std::string& folder) {
    EchoOptions options;
    options.session_folder = folder;
    return options;
  }
  ClientReply act(const std::string& target, const std::string& body = "{}") {
    return HttpClient(server_.port()).post("/slots/" + target, body);
  }

  testing::TempDir dir_;
  TestServer server_{{}, echo(dir_.path())};
  HttpClient client_;
  std::string prompt_;
};

TEST_F(SlotActions, ASavedConversationIsAHitInAnotherServer) {
  EXPECT_EQ(client_.post("/v1/completions", completion(prompt_, "")).status, 200);
  ClientReply saved = act("0?action=save", R"({"filename":"talk.bin"})");
  ASSERT_EQ(saved.status, 200) << saved.body;
  EXPECT_EQ(saved.json().find("n_saved")->as_int(), 128);  // of 129 computed tokens
  EXPECT_EQ(saved.json().find("id_slot")->as_int(), 0);
  EXPECT_EQ(static_cast<uint64_t>(saved.json().find("n_written")->as_int()),
            std::filesystem::file_size(dir_.path() + "/talk.bin"));
  EXPECT_NE(saved.json().find("timings")->find("save_ms"), nullptr);

  TestServer other({}, echo(dir_.path()));
  HttpClient client(other.port());
  ClientReply restored = client.post("/slots/3?action=restore", R"({"filename":"talk.bin"})");
  ASSERT_EQ(restored.status, 200) << restored.body;
  EXPECT_EQ(restored.json().find("n_restored")->as_int(), 128);
  ClientReply next = client.post("/v1/completions", completion(prompt_ + prompt_.substr(0, 40) + "more", ""));
  EXPECT_EQ(cached_tokens(next), 128);
  ClientReply again = client.post("/slots/3?action=save", R"({"filename":"again.bin"})");
  EXPECT_EQ(again.json().find("n_saved")->as_int(), 128);
}

TEST_F(SlotActions, SessionsAndSlotsHaveTheirOwnNames) {
  client_.post("/v1/completions", completion(prompt_, R"(,"session_id":"mine")"));
  client_.post("/v1/completions", completion("zz" + prompt_.substr(0, 18), R"(,"id_slot":2)"));
  EXPECT_EQ(act("mine?action=save", R"({"filename":"a"})").json().find("n_saved")->as_int(), 128);
  EXPECT_EQ(act("2?action=save", R"({"filename":"b"})").json().find("n_saved")->as_int(), 32);
  ClientReply none = act("5?action=save", R"({"filename":"c"})");
  EXPECT_EQ(none.status, 400);
  EXPECT_THAT(none.body, HasSubstr("slot 5"));
}

TEST_F(SlotActions, AnErasedSlotIsComputedAgain) {
  client_.post("/v1/completions", completion(prompt_, ""));
  EXPECT_GE(cached_tokens(client_.post("/v1/completions", completion(prompt_, ""))), 64);
  ClientReply erased = HttpClient(server_.port()).post("/slots/0?action=erase", "");
  ASSERT_EQ(erased.status, 200) << erased.body;
  EXPECT_EQ(erased.json().find("n_erased")->as_int(), 128);
  EXPECT_EQ(cached_tokens(client_.post("/v1/completions", completion(prompt_, ""))), 0);
}

TEST_F(SlotActions, WhatIsWrongIsSaid) {
  client_.post("/v1/completions", completion(prompt_, ""));
  struct Case {
    const char* target;
    const char* body;
    const char* says;
  };
  dir_.write("bad.bin", "not a session at all, but long enough for a head");
  for (const Case& wrong :
       {Case{"0?action=save", R"({"filename":"../escaped-session"})", "filename must be"},
        Case{"0?action=save", R"({"filename":"/etc/x"})", "filename must be"},
        Case{"0?action=save", R"({"filename":7})", "filename must be"}, Case{"0?action=save", "{}", "filename must be"},
        Case{"0?action=restore", R"({"filename":"none.bin"})", "none.bin"},
        Case{"0?action=restore", R"({"filename":"bad.bin"})", "not a saved session"},
        Case{"0?action=fly", R"({"filename":"x"})", "Invalid action"},
        Case{"0", R"({"filename":"x"})", "Invalid action"},
        Case{"99999999999999999999?action=erase", "{}", "Invalid slot ID"}}) {
    ClientReply reply = act(wrong.target, wrong.body);
    EXPECT_EQ(reply.status, 400) << wrong.target << wrong.body;
    EXPECT_THAT(reply.body, HasSubstr(wrong.says)) << wrong.target << wrong.body;
    EXPECT_EQ(reply.body.find(dir_.path()), std::string::npos) << reply.body;
  }
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/../escaped-session"));
  TestServer plain;
  ClientReply off = HttpClient(plain.port()).post("/slots/0?action=save", R"({"filename":"x"})");
  EXPECT_EQ(off.status, 501);
  EXPECT_THAT(off.body, HasSubstr("--slot-save-path"));
}

// A client sees the same whether the next step is planned while one is computed or after it.
TEST(AsyncScheduling, TheSameAnswersAtBothDepths) {
  std::vector<std::string> answers[2];
  for (uint32_t depth : {1u, 2u}) {
    EchoOptions options;
    options.depth = depth;
    TestServer server({}, options);
    HttpClient client(server.port());
    for (int i = 0; i < 12; ++i) {
      std::string more = i % 2 == 0 ? R"(,"logprobs":2,"n":2)" : R"(,"ignore_eos":true)";
      ClientReply reply = client.post("/v1/completions", completion("prompt " + std::to_string(i), more));
      EXPECT_EQ(reply.status, 200) << reply.body;
      answers[depth - 1].push_back(reply.json().find("choices")->dump());
    }
  }
  EXPECT_EQ(answers[0], answers[1]);
}

}  // namespace
}  // namespace millrace::server
