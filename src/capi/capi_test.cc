// The C interface without a model: what is refused and how, and that a load that fails ends cleanly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <millrace.h>

#include <array>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

struct Refusal {
  explicit Refusal(const std::vector<const char*>& args) {
    server = millrace_start(args.data(), args.size(), text.data(), text.size());
  }
  ~Refusal() { millrace_stop(server); }
  Refusal(const Refusal&) = delete;
  Refusal& operator=(const Refusal&) = delete;
  std::string message() const { return text.data(); }

  std::array<char, 256> text{};
  millrace_server* server = nullptr;
};

TEST(CInterface, BadFlagsAreNamed) {
  EXPECT_EQ(millrace_abi(), MILLRACE_ABI);
  Refusal unknown({"model.gguf", "--no-such-flag", "1"});
  EXPECT_EQ(unknown.server, nullptr);
  EXPECT_THAT(unknown.message(), HasSubstr("--no-such-flag"));
  Refusal range({"model.gguf", "--max-num-seqs", "-1"});
  EXPECT_EQ(range.server, nullptr);
  EXPECT_THAT(range.message(), HasSubstr("--max-num-seqs"));
  Refusal help({"--help"});
  EXPECT_EQ(help.server, nullptr);
  EXPECT_THAT(help.message(), HasSubstr("--help"));
}

TEST(CInterface, AMessageIsCutToItsBuffer) {
  std::array<char, 8> few{};
  const char* args[] = {"model.gguf", "--no-such-flag"};
  EXPECT_EQ(millrace_start(args, 2, few.data(), few.size()), nullptr);
  EXPECT_EQ(std::string(few.data()).size(), few.size() - 1);
  EXPECT_EQ(millrace_start(args, 2, nullptr, 0), nullptr);
}

TEST(CInterface, ALoadThatFailsIsToldAndStops) {
  testing::TempDir folder;
  std::string socket = folder.path() + "/socket";
  Refusal failing({"no-such-model.gguf", "--uds", socket.c_str()});
  ASSERT_NE(failing.server, nullptr) << failing.message();
  EXPECT_EQ(std::string(millrace_url(failing.server)), "unix:" + socket);
  constexpr int64_t kLongEnough = 60'000;
  EXPECT_EQ(millrace_wait_ready(failing.server, kLongEnough, failing.text.data(), failing.text.size()), -1);
  EXPECT_THAT(failing.message(), HasSubstr("no-such-model.gguf"));
  EXPECT_EQ(millrace_stop(failing.server), 3);
  failing.server = nullptr;
  EXPECT_EQ(millrace_stop(nullptr), 0);
}

TEST(CInterface, ASocketInUseIsRefused) {
  Refusal nowhere({"no-such-model.gguf", "--uds", "/no/such/folder/socket"});
  EXPECT_EQ(nowhere.server, nullptr);
  EXPECT_THAT(nowhere.message(), HasSubstr("/no/such/folder/socket"));
}

}  // namespace
}  // namespace millrace
