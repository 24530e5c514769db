#include "app/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace millrace::app {
namespace {

using ::testing::HasSubstr;

struct Parsed {
  int64_t length = 7;
  bool cache = true;
  std::string host = "127.0.0.1";
  std::vector<std::string> names;
  std::string model;
  std::string error;
};

Parsed parse(std::vector<std::string> args) {
  Parsed out;
  FlagSet flags("test", "a test");
  flags.add("-c,--max-model-len,--ctx-size", &out.length, "length");
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
  EXPECT_THAT(parse({"m", "--max-model-len", "3x"}).error, HasSubstr("unknown suffix"));
  EXPECT_THAT(parse({"m", "--max-model-len", "abc"}).error, HasSubstr("not an integer"));
  EXPECT_THAT(parse({"m", "--max-model-len", "99999999T"}).error, HasSubstr("out of range"));
  EXPECT_THAT(parse({}).error, HasSubstr("MODEL"));
}

TEST(FlagsTest, ForeignHarmlessFlagsAreAccepted) {
  Parsed parsed = parse({"m", "--enforce-eager", "-ub", "512", "--host", "h"});
  EXPECT_EQ(parsed.error, "");
  EXPECT_EQ(parsed.host, "h");
  EXPECT_EQ(parsed.model, "m");
}

TEST(FlagsTest, CommandLineBeatsEnvironment) {
  ::setenv("MILLRACE_HOST", "from-env", 1);
  EXPECT_EQ(parse({"m"}).host, "from-env");
  EXPECT_EQ(parse({"m", "--host", "here"}).host, "here");
  ::unsetenv("MILLRACE_HOST");
}

}  // namespace
}  // namespace millrace::app
