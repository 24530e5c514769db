// Every command that takes a model, with what users and machines get wrong: one message that names the file or flag,
// and the exit code that goes with it. Nothing of this may crash, and nothing may load.
#include "app/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/macros.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace millrace::app {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

struct ModelCommand {
  std::string name;
  std::function<Result<int>(std::span<const std::string>)> run;
  std::vector<std::string> rest;  // arguments after the model
};

std::vector<ModelCommand> model_commands(const std::string& folder) {
  return {{"run", run_command, {"hello"}},
          {"inspect", inspect_command, {}},
          {"perplexity", perplexity_command, {"--file", folder + "/text.txt"}},
          {"tokenize", tokenize_command, {"hello"}},
          {"convert", convert_command, {folder + "/out", "--tokenizer-only"}},
          {"bench model", bench_model_command, {}}};
}

struct Outcome {
  int code = 0;
  std::string message;
};

Outcome outcome(const ModelCommand& command, const std::string& model, const std::vector<std::string>& more = {}) {
  std::vector<std::string> args = {model};
  args.insert(args.end(), command.rest.begin(), command.rest.end());
  args.insert(args.end(), more.begin(), more.end());
  auto result = command.run(args);
  if (result.ok()) return {*result, ""};
  return {exit_code(result.error().code), result.error().message};
}

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    set_log_level(LogLevel::kError);
    dir_.write("text.txt", "hi");
  }
  std::string folder() const { return dir_.path(); }
  testing::TempDir dir_;
};

TEST_F(BadInput, FilesThatAreNoModel) {
  const std::vector<uint8_t> tiny = testing::tiny_gguf({});
  const std::string good(tiny.begin(), tiny.end());
  struct Row {
    std::string path;
    const char* what;
  };
  const std::vector<Row> rows = {
      {folder() + "/missing.gguf", "missing.gguf"},
      {folder(), "config.json"},
      {dir_.write("empty.gguf", ""), "empty.gguf: not a model file: 0 bytes"},
      {dir_.write("short.gguf", "GGU"), "short.gguf"},
      {dir_.write("zip.gguf", std::string(64, 'P')), "unknown magic"},
      {dir_.write("head.gguf", good.substr(0, 200)), "head.gguf"},
      {dir_.write("half.gguf", good.substr(0, good.size() / 2)), "half.gguf"},
      {dir_.write("cut.safetensors", std::string("\x09\0\0\0\0\0\0\0{", 9)), "cut.safetensors"},
      {"/dev/null", "/dev/null"},
      {"no-such-name", "no-such-name"},
  };
  for (const ModelCommand& command : model_commands(folder())) {
    for (const Row& row : rows) {
      Outcome got = outcome(command, row.path);
      EXPECT_EQ(got.code, 3) << command.name << " " << row.path << ": " << got.message;
      EXPECT_THAT(got.message, HasSubstr(row.what)) << command.name << " " << row.path;
      EXPECT_EQ(got.message.find('\n'), std::string::npos) << got.message;
    }
    EXPECT_FALSE(std::filesystem::exists(folder() + "/out")) << command.name;
  }
}

TEST_F(BadInput, FlagsThatAreWrong) {
  for (const ModelCommand& command : model_commands(folder())) {
    for (const std::vector<std::string>& more :
         std::vector<std::vector<std::string>>{{"--no-such-flag"}, {"--threads", "x"}, {"--config", "/no/such.toml"}}) {
      Outcome got = outcome(command, "model.gguf", more);
      EXPECT_EQ(got.code, 2) << command.name << " " << more[0] << ": " << got.message;
      EXPECT_THAT(got.message, AnyOf(HasSubstr(more[0]), HasSubstr("/no/such.toml"))) << command.name;
    }
    auto without = command.run({});
    ASSERT_FALSE(without.ok()) << command.name;
    EXPECT_EQ(exit_code(without.error().code), 2) << command.name << ": " << without.error().message;
  }
}

TEST_F(BadInput, NumbersOutOfRange) {
  struct Row {
    Result<int> (*run)(std::span<const std::string>);
    std::vector<std::string> args;
    const char* what;
  };
  const std::vector<Row> rows = {
      {run_command, {"m", "--temperature", "1e9"}, "--temperature = 1e9: must be"},
      {run_command, {"m", "--temperature", "nan"}, "--temperature = nan: must be"},
      {run_command, {"m", "-n", "99999999999"}, "--max-tokens = 99999999999: must be"},
      {run_command, {"m", "--seed", "x"}, "--seed = x: must be"},
      {inspect_command, {"m", "-c", "1e9"}, "--max-model-len = 1e9: must be"},
      {inspect_command, {"m", "--max-num-seqs", "0"}, "--max-num-seqs = 0: must be"},
      {perplexity_command, {"m", "-f", "x", "-c", "1"}, "--ctx = 1: must be an integer in 2..1048576"},
      {perplexity_command, {"m", "-f", "x", "--chunks", "-1"}, "--chunks = -1: must be"},
      {perplexity_command, {"m"}, "--file"},
      {bench_model_command, {"m", "-r", "0"}, "--repetitions = 0: must be"},
      {bench_serve_command, {"--num-prompts", "0"}, "--num-prompts = 0: must be"},
      {bench_serve_command, {"--request-rate", "-1"}, "--request-rate = -1: must be"},
      {bench_serve_command, {"--base-url", "ftp://x"}, "--base-url"},
      {bench_serve_command, {"--extra-body", "[]"}, "--extra-body"},
      {bench_serve_command, {"--extra-body", "{"}, "--extra-body"},
      {bench_serve_command, {"--metric-percentiles", "50,x"}, "--metric-percentiles"},
      {bench_serve_command, {"--goodput", "x"}, "--goodput"},
      {bench_command, {"x"}, "want calibrate, grammar, kernels, latency, model, plan"},
      {bench_latency_command, {"m", "--num-iters", "0"}, "--num-iters = 0: must be"},
      {bench_latency_command, {"m", "--input-len", "0"}, "--input-len = 0: must be"},
      {bench_latency_command, {"m", "--batch-size", "1025"}, "--batch-size = 1025: must be an integer in 1..1024"},
      {bench_throughput_command, {"m", "--batch-size", "8"}, "--batch-size"},
      {bench_throughput_command, {"m", "--num-prompts", "0"}, "--num-prompts = 0: must be"},
      {bench_startup_command, {"m", "--num-iters", "x"}, "--num-iters = x: must be"},
      {simulate_command, {"--replicas", "0"}, "--replicas = 0: must be an integer in 1..4096"},
      {simulate_command, {"--depth", "3"}, "--depth = 3: must be an integer in 1..2"},
      {simulate_command, {"--link-gbps", "-1"}, "--link-gbps = -1: must be"},
      {simulate_command, {"--max-model-len", "1"}, "--max-model-len"},
      {convert_command, {"m", "out"}, "--tokenizer-only"},
  };
  for (const Row& row : rows) {
    auto result = row.run(row.args);
    ASSERT_FALSE(result.ok()) << row.what;
    EXPECT_THAT(result.error().message, HasSubstr(row.what));
    EXPECT_EQ(exit_code(result.error().code), 2) << row.what;
  }
}

}  // namespace
}  // namespace millrace::app
