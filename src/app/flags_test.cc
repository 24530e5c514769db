#include "app/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/temp_dir.h"

namespace millrace::app {
namespace {

using ::testing::HasSubstr;

struct Parsed {
  int64_t length = 7;
  double temperature = -1;
  bool cache = true;
  std::string host = "127.0.0.1";
  std::vector<std::string> names;
  std::string model;
  std::string error;
};

Parsed parse(std::vector<std::string> args) {
  Parsed out;
  FlagSet flags("test", "a test");
  flags.add("-c,--max-model-len,--ctx-size", &out.length, "length", {0, 1 << 24});
  flags.add("--temperature", &out.temperature, "temperature", {-1, 2});
  flags.add("--enable-prefix-caching", &out.cache, "cache");
  flags.add("--host", &out.host, "host");
  flags.add("--served-model-name", &out.names, "names");
  flags.positional("MODEL", &out.model, "model", true);
  auto result = flags.parse(args);
  if (!result.ok()) out.error = result.error().message;
  return out;
}

TEST(FlagsTest, SpellingsOfOneFlag) {
  EXPECT_EQ(parse({"m", "--max-model-len", "32k"}).length, 32768);
  EXPECT_EQ(parse({"m", "--max_model_len=1M"}).length, 1 << 20);
  EXPECT_EQ(parse({"m", "-c", "12"}).length, 12);
  EXPECT_EQ(parse({"m", "--ctx-size=12"}).length, 12);
  EXPECT_FALSE(parse({"m", "--no-enable-prefix-caching"}).cache);
  EXPECT_TRUE(parse({"m", "--enable_prefix_caching"}).cache);
  EXPECT_EQ(parse({"m"}).length, 7);
  EXPECT_EQ(parse({"--host", "::1", "m"}).model, "m");
}

TEST(FlagsTest, ErrorsNameTheFlag) {
  EXPECT_THAT(parse({"m", "--max-modle-len", "3"}).error, HasSubstr("did you mean --max-model-len?"));
  for (const char* bad : {"3x", "abc", "1e9", "1.5", "99999999T", "-1", "17000000"}) {
    EXPECT_THAT(parse({"m", std::string("--ctx-size=") + bad}).error,
                HasSubstr("--max-model-len = " + std::string(bad) + ": must be an integer in 0..16777216"));
  }
  for (const char* bad : {"hot", "nan", "inf", "2.5", "-2", "1,5"}) {
    EXPECT_THAT(parse({"m", std::string("--temperature=") + bad}).error,
                HasSubstr("--temperature = " + std::string(bad) + ": must be a number in -1..2"));
  }
  EXPECT_THAT(parse({}).error, HasSubstr("MODEL"));
}

TEST(FlagsTest, ForeignHarmlessFlagsAreAccepted) {
  Parsed parsed = parse({"m", "--enforce-eager", "-ub", "512", "--host", "h"});
  EXPECT_EQ(parsed.error, "");
  EXPECT_EQ(parsed.host, "h");
  EXPECT_EQ(parsed.model, "m");
}

TEST(FlagsTest, ConfigFileKeysAreFlags) {
  testing::TempDir dir;
  const std::string good = dir.write("good.toml", "max-model-len = \"2k\"\nhost = \"::1\"\n");
  EXPECT_EQ(parse({"m", "--config", good}).length, 2048);
  EXPECT_EQ(parse({"m", "--config", good, "-c", "5"}).length, 5);
  const std::string bad = dir.write("bad.toml", "max-model-length = 5\n");
  EXPECT_THAT(parse({"m", "--config", bad}).error, HasSubstr("config file: max-model-length is no flag"));
}

TEST(FlagsTest, CommandLineBeatsEnvironment) {
  ::setenv("MILLRACE_HOST", "from-env", 1);
  EXPECT_EQ(parse({"m"}).host, "from-env");
  EXPECT_EQ(parse({"m", "--host", "here"}).host, "here");
  ::unsetenv("MILLRACE_HOST");
}

constexpr EnvironmentName kTheirs[] = {{"LLAMA_ARG_CTX_SIZE", "--ctx-size"},
                                       {"LLAMA_ARG_HOST", "--host"},
                                       {"LLAMA_ARG_CACHE", "--enable-prefix-caching"},
                                       {"LLAMA_ARG_CONT_BATCHING", "--cont-batching"},
                                       {"LLAMA_ARG_DEVICE", "--device"}};

// What the flags say when these variables are set and read.
Parsed parse_with(const std::vector<std::pair<std::string, std::string>>& variables, std::vector<std::string> args) {
  for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
  Parsed out;
  FlagSet flags("test", "a test");
  flags.read_also(kTheirs);
  flags.add("-c,--max-model-len,--ctx-size", &out.length, "length", {0, 1 << 24});
  flags.add("--enable-prefix-caching", &out.cache, "cache");
  flags.add("--host", &out.host, "host");
  flags.positional("MODEL", &out.model, "model", true);
  auto result = flags.parse(args);
  if (!result.ok()) out.error = result.error().message;
  for (const auto& [name, value] : variables) ::unsetenv(name.c_str());
  return out;
}

TEST(FlagsTest, VariablesOfAnotherServer) {
  EXPECT_EQ(parse_with({{"LLAMA_ARG_CTX_SIZE", "2k"}}, {"m"}).length, 2048);
  EXPECT_EQ(parse({"m"}).length, 7);
  ::setenv("LLAMA_ARG_CTX_SIZE", "9", 1);
  EXPECT_EQ(parse({"m"}).length, 7);  // of a command that does not read them
  ::unsetenv("LLAMA_ARG_CTX_SIZE");
  for (const char* given : {"-c5", "--ctx-size=5", "--max_model_len=5"})
    EXPECT_EQ(parse_with({{"LLAMA_ARG_CTX_SIZE", "2k"}}, {"m", given}).length, 5) << given;
  EXPECT_EQ(parse_with({{"LLAMA_ARG_CTX_SIZE", "2k"}, {"MILLRACE_MAX_MODEL_LEN", "6"}}, {"m"}).length, 6);
  EXPECT_THAT(parse_with({{"LLAMA_ARG_CTX_SIZE", "x"}}, {"m"}).error, HasSubstr("--max-model-len = x: must be"));
}

TEST(FlagsTest, VariablesOfSwitches) {
  for (const char* off : {"0", "off", "false", "disabled"})
    EXPECT_FALSE(parse_with({{"LLAMA_ARG_CACHE", off}}, {"m"}).cache) << off;
  for (const char* on : {"1", "on", "true", "enabled"}) {
    EXPECT_TRUE(parse_with({{"LLAMA_ARG_CACHE", on}}, {"m"}).cache) << on;
    EXPECT_FALSE(parse_with({{"LLAMA_ARG_CACHE", on}}, {"m", "--no-enable-prefix-caching"}).cache) << on;
  }
  EXPECT_FALSE(parse_with({{"LLAMA_ARG_NO_CACHE", "1"}}, {"m"}).cache);
  EXPECT_FALSE(parse_with({{"LLAMA_ARG_NO_CACHE", "1"}, {"LLAMA_ARG_CACHE", "1"}}, {"m"}).cache);
  EXPECT_TRUE(parse_with({{"LLAMA_ARG_NO_CACHE", "1"}}, {"m", "--enable-prefix-caching"}).cache);
  EXPECT_EQ(parse_with({{"LLAMA_ARG_NO_HOST", "1"}}, {"m"}).host, "127.0.0.1");  // no switch
  EXPECT_EQ(parse_with({{"LLAMA_ARG_CACHE", "maybe"}}, {"m"}).error,
            "LLAMA_ARG_CACHE = maybe: must be one of 1, on, true, enabled, 0, off, false, disabled");
}

// Of flags that another server has: accepted with a warning, or refused, as on the command line.
TEST(FlagsTest, VariablesOfForeignFlags) {
  EXPECT_EQ(parse_with({{"LLAMA_ARG_CONT_BATCHING", "1"}}, {"m"}).error, "");
  EXPECT_EQ(parse_with({{"LLAMA_ARG_CONT_BATCHING", "0"}}, {"m"}).error, "");
  EXPECT_EQ(parse_with({{"LLAMA_ARG_DEVICE", "cpu"}}, {"m"}).error, "");
  EXPECT_THAT(parse_with({{"LLAMA_ARG_DEVICE", "CUDA0"}}, {"m"}).error, HasSubstr("--device CUDA0: not supported"));
}

}  // namespace
}  // namespace millrace::app
