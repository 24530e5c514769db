// Every flag of the interface specification's section 10.1 through `serve`: taken, taken with a warning, or refused by
// name with a reason; never "unknown".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "app/commands.h"
#include "app/foreign_flags.h"
#include "app/llama_environment.h"
#include "app/serve_plan.h"
#include "base/limits.h"
#include "base/macros.h"
#include "base/result.h"
#include "tests/support/temp_dir.h"

namespace millrace::app {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string error_of(std::vector<std::string> args) {
  args.insert(args.begin(), "model.gguf");
  auto result = check_serve_flags(args);
  return result.ok() ? "" : result.error().message;
}

struct Row {
  const char* flag;
  const char* value;  // null: none
};

// Served as written.
constexpr Row kTaken[] = {
    {"--model", "m.gguf"},
    {"-m", "m.gguf"},
    {"--served-model-name", "a"},
    {"-a", "a"},
    {"--alias", "a"},
    {"--host", "127.0.0.1"},
    {"--sandbox", "on"},
    {"--port", "8001"},
    {"--seed", "7"},
    {"-s", "7"},
    {"-n", "64"},
    {"--n-predict", "-1"},
    {"--tags", "chat,small"},
    {"--kv-unified", nullptr},
    {"--compat", "llama-server"},
    {"--compat", "vllm"},
    {"--no-slots", nullptr},
    {"--metrics", nullptr},
    {"--max-model-len", "32k"},
    {"-c", "4096"},
    {"--ctx-size", "4096"},
    {"--max-num-seqs", "4"},
    {"--constraint-ending", "cut"},
    {"-np", "4"},
    {"--parallel", "4"},
    {"--max-num-batched-tokens", "512"},
    {"-b", "512"},
    {"--batch-size", "512"},
    {"--kv-cache-memory-bytes", "1G"},
    {"--kv-cache-dtype", "int8"},
    {"-ctk", "q8_0"},
    {"--cache-type-k", "f16"},
    {"--block-size", "32"},
    {"--enable-prefix-caching", nullptr},
    {"--no-enable-prefix-caching", nullptr},
    {"--threads", "2"},
    {"-t", "2"},
    {"--check-tensors", nullptr},
    {"--warmup", nullptr},
    {"--no-warmup", nullptr},
    {"--generation-config", "vllm"},
    {"--override-generation-config", R"({"temperature":0.5,"top_k":20,"max_new_tokens":64})"},
    {"--temp", "0.7"},
    {"--top-k", "40"},
    {"--top-p", "0.9"},
    {"--min-p", "0.1"},
    {"--scheduling-policy", "fcfs"},
    {"--scheduling-policy", "dlpm"},
    {"--admission-policy", "max-util"},
    {"--budget-policy", "static"},
    {"--tenant", "a:2:60000"},
    {"--gateway-api-key", "k"},
    {"--itl-target-ms", "50"},
    {"--ttft-target-ms", "500"},
    {"--api-key", "k"},
    {"--admin-api-key", "k"},
    {"--root-path", "/v"},
    {"--api-prefix", "/v"},
    {"--threads-http", "2"},
    {"--uds", "x"},
    {"--kv-disk-size", "1G"},
    {"--kv-disk-path", "x"},
    {"--kv-disk-write", "all"},
    {"--record-events", "x"},
    {"--kv-events-config", R"({"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:5557"})"},
    {"--shutdown-timeout", "5"},
    {"--max-num-queued-reqs", "9"},
    {"--max-num-queued-tokens", "9"},
    {"--allow-open", nullptr},
    {"--metrics-auth", nullptr},
    {"--strict-fields", nullptr},
    {"--trust-request-chat-template", nullptr},
    {"--tool-call-parser", "hermes"},
    {"--enable-auto-tool-choice", nullptr},
    {"--reasoning-parser", "qwen3"},
    {"--reasoning", "off"},
    {"--reasoning-field", "reasoning"},
    {"--reasoning-format", "deepseek"},
    {"--reasoning-budget", "100"},
    {"--max-n", "4"},
    {"--max-logprobs", "5"},
    {"--max-logprobs", "-1"},
    {"--drain-timeout", "5"},
    {"--enable-per-request-metrics", nullptr},
    {"--show-hidden-metrics", nullptr},
    {"--metrics-compat", "vllm,llamacpp"},
    {"--grammar", "root ::= \"a\""},
    {"-j", R"({"type":"object"})"},
    {"--structured-outputs-config", R"({"backend":"xgrammar","disable_any_whitespace":true})"},
    {"--memory-limit", "8G"},
    {"--live-stall", "10"},
    {"--watchdog", "10"},
    {"--allowed-origins", "*"},
    {"--cors-origins", "*"},
    {"--error-style", "vllm"},
    {"--no-timings", nullptr},
    {"--no-ui", nullptr},
    {"--hf-endpoint", "x"},
    {"--hf-token", "x"},
    {"--offline", nullptr},
    {"--no-webui", nullptr},
    {"--enable-force-include-usage", nullptr},
    {"--sse-header-delay-ms", "10"},
    {"--sse-keep-alive-interval", "10"},
    {"--sse-ping-interval", "10"},
    {"-v", nullptr},
};

// Known, and refused with this value.
constexpr Row kRefused[] = {
    {"--tokenizer", "x"},
    {"--load-format", "pt"},
    {"--download-dir", "x"},
    {"--model-url", "x"},
    {"--kv-cache-dtype", "fp8"},
    {"-ctk", "q4_0"},
    {"-ctv", "q8_0"},  // K stays bf16
    {"--block-size", "16"},
    {"--no-enable-chunked-prefill", nullptr},
    {"--context-shift", nullptr},
    {"--keep", "5"},
    {"--rope-scaling", "yarn"},
    {"--rope-freq-base", "1"},
    {"--rope-freq-scale", "1"},
    {"--yarn-orig-ctx", "1"},
    {"--yarn-ext-factor", "1"},
    {"--yarn-attn-factor", "1"},
    {"--yarn-beta-slow", "1"},
    {"--yarn-beta-fast", "1"},
    {"--hf-overrides", "{}"},
    {"--device", "cuda"},
    {"--dtype", "half"},
    {"--tensor-parallel-size", "2"},
    {"-tp", "2"},
    {"--pipeline-parallel-size", "2"},
    {"-pp", "2"},
    {"--data-parallel-size", "2"},
    {"-dp", "2"},
    {"--nnodes", "2"},
    {"--node-rank", "1"},
    {"--headless", nullptr},
    {"--cluster-bind", "x"},
    {"--chat-template-content-format", "openai"},
    {"--structured-outputs-config", R"({"odd":1})"},
    {"--structured-outputs-config", R"({"disable_any_whitespace":1})"},
    {"--structured-outputs-config", R"({"enable_in_reasoning":true})"},
    {"--structured-outputs-config", "[]"},
    {"--grammar", "x"},
    {"--grammar-file", "/nowhere/there.gbnf"},
    {"-j", "{"},
    {"--json-schema", R"({"type":"odd"})"},
    {"--json-schema-file", "/nowhere/there.json"},
    {"--speculative-config", "{}"},
    {"--spec-model", "x"},
    {"--spec-tokens", "3"},
    {"--spec-method", "ngram"},
    {"-md", "x"},
    {"--spec-draft-n-max", "3"},
    {"--enable-lora", nullptr},
    {"--enable-runtime-lora", nullptr},
    {"--lora-modules", "a=b"},
    {"--max-loras", "2"},
    {"--max-lora-rank", "8"},
    {"--adapter-dir", "x"},
    {"--lora", "x"},
    {"--kv-transfer-config", "{}"},
    {"--kv-events-config", "x"},
    {"--kv-events-config", R"({"publisher":"null"})"},
    {"--kv-events-config", R"({"endpoints":"tcp://*:5557"})"},
    {"--scheduling-policy", "round-robin"},
    {"--admission-policy", "always"},
    {"--budget-policy", "endless"},
    {"--tenant", "a"},
    {"--itl-target-ms", "-1"},
    {"--ttft-target-ms", "600001"},
    {"--ssl-keyfile", "x"},
    {"--ssl-ca-certs", "x"},
    {"--ssl-cert-reqs", "3"},
    {"--log-format", "xml"},
    {"--path", "x"},
    {"--timeout", "60"},
    {"--trusted-proxies", "x"},
    {"--constraint-cache", "1"},
    {"--pooling", "rank"},
    {"--mmproj", "x"},
    {"--props", nullptr},
    {"--ui-config", "x"},
    {"--task", "reward"},
    {"--enable-log-requests", nullptr},
    {"--log-file", "x"},
    {"--enable-sleep-mode", nullptr},
    {"--enable-dev-routes", nullptr},
    {"--completion-bash", nullptr},
    {"--models-preset", "x"},
    {"--models-max", "0"},
    {"--compat", "nobody"},
    {"--metrics-compat", "sglang"},
    {"--custom-histogram-buckets", "x"},
    {"--otlp-traces-endpoint", "x"},
};

// Values of other servers' flags that change nothing.
constexpr Row kNeutral[] = {
    {"--keep", "0"},
    {"--task", "embed"},
    {"--device", "cpu"},
    {"--dtype", "auto"},
    {"--tensor-parallel-size", "1"},
    {"-tp", "1"},
    {"--nnodes", "1"},
    {"--seed", "0"},
    {"--load-format", "auto"},
    {"--compat", "openai"},
};

std::vector<std::string> args_of(const Row& row, bool attached) {
  if (row.value == nullptr) return {row.flag};
  if (attached) return {std::string(row.flag) + "=" + row.value};
  return {row.flag, row.value};
}

class ServeFlags : public ::testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::kError); }
};

TEST_F(ServeFlags, TakenAsWritten) {
  for (const Row& row : kTaken) {
    EXPECT_EQ(error_of(args_of(row, false)), "") << row.flag;
    const bool is_long = std::string_view(row.flag).starts_with("--");
    EXPECT_EQ(error_of(args_of(row, is_long)), "") << row.flag;
  }
  for (const Limit& limit : limit_table()) {
    if (limit.flag.empty()) continue;
    EXPECT_EQ(error_of({std::string(limit.flag), "1"}), "") << limit.flag;
    EXPECT_THAT(error_of({std::string(limit.flag), "0"}), HasSubstr(std::string(limit.flag) + " = 0: must be"));
    EXPECT_THAT(error_of({std::string(limit.flag), std::to_string(limit.hard_max + 1)}),
                HasSubstr("1.." + std::to_string(limit.hard_max)));
  }
}

TEST_F(ServeFlags, RefusedByName) {
  const std::set<std::string> spelled_otherwise = {"-ctk", "-ctv"};
  for (const Row& row : kRefused) {
    for (bool attached : {false, true}) {
      std::string error = error_of(args_of(row, attached));
      EXPECT_NE(error, "") << row.flag;
      EXPECT_THAT(error, Not(HasSubstr("unknown flag"))) << row.flag;
      EXPECT_THAT(error, HasSubstr(spelled_otherwise.contains(row.flag) ? "cache-" : row.flag));
    }
  }
  EXPECT_THAT(error_of({"--constraint-ending", "never"}), HasSubstr("--constraint-ending = never: must be one of"));
  EXPECT_THAT(error_of({"--context-shift"}), HasSubstr("context shifting rewrites cached positions"));
  EXPECT_THAT(error_of({"--keep", "64"}), HasSubstr("--keep 64: not supported: context shifting"));
}

TEST_F(ServeFlags, NeutralValuesPass) {
  for (const Row& row : kNeutral) {
    EXPECT_EQ(error_of(args_of(row, false)), "") << row.flag;
    EXPECT_EQ(error_of(args_of(row, true)), "") << row.flag;
  }
}

// Every name of the table of foreign flags gets past the reader's own names, with the arguments it says.
TEST_F(ServeFlags, HarmlessOnesPassWithTheirValues) {
  for (const ForeignFlag& flag : foreign_flags()) {
    std::string_view rest = flag.names;
    while (!rest.empty()) {
      size_t cut = std::min(rest.find(','), rest.size());
      std::string name(rest.substr(0, cut));
      rest.remove_prefix(std::min(cut + 1, rest.size()));
      EXPECT_EQ(find_foreign_flag(name), &flag) << name << " stands in two rows";
      std::vector<std::string> args = {name};
      if (flag.value == ForeignValue::kOne) args.emplace_back("99");
      std::string error = error_of(args);
      if (flag.reason.empty()) {
        EXPECT_EQ(error, "") << name;
      } else {
        EXPECT_THAT(error, AnyOf(StartsWith(name + ": not supported: "), StartsWith(name + " 99: not supported: ")));
      }
    }
  }
  EXPECT_EQ(error_of({"-fa", "on", "--flash-attn", "-ngl", "99", "--port", "1"}), "");
  EXPECT_EQ(error_of({"-sm", "none", "-mg", "0", "-nkvo", "-cram", "0", "-nr", "-dev", "none", "-no-kvu"}), "");
  EXPECT_EQ(error_of({"-ctk", "q8_0", "-ctv", "q8_0"}), "");
}

TEST_F(ServeFlags, BadValuesNameFlagAndRange) {
  EXPECT_THAT(error_of({"other/model.gguf", "more/model.gguf"}), HasSubstr("another model is named model"));
  EXPECT_THAT(error_of({"--port", "abc"}), HasSubstr("--port = abc: must be an integer in 0..65535"));
  EXPECT_THAT(error_of({"--port", "70000"}), HasSubstr("--port = 70000: must be an integer in 0..65535"));
  EXPECT_THAT(error_of({"-c", "1e9"}), HasSubstr("--max-model-len = 1e9: must be an integer in 0..16777216"));
  EXPECT_THAT(error_of({"-np", "0"}), HasSubstr("--max-num-seqs = 0: must be an integer in 1..4096"));
  EXPECT_THAT(error_of({"--threads", "100000"}), HasSubstr("--threads = 100000: must be an integer in 0..1024"));
  EXPECT_THAT(error_of({"--kv-cache-memory-bytes", "-1"}), HasSubstr("must be an integer >= 0"));
  EXPECT_THAT(error_of({"--error-style", "x"}), HasSubstr("--error-style = x: must be"));
  EXPECT_EQ(error_of({"--max-logprobs", "0"}), "--max-logprobs = 0: must be 1..2000000 items, or -1 for all tokens");
  EXPECT_THAT(error_of({"--api-key", ""}), HasSubstr("--api-key"));
  EXPECT_THAT(error_of({"--port", "1", "--port", "2"}), HasSubstr("--port"));
  EXPECT_THAT(error_of({"--port"}), HasSubstr("--port"));
  EXPECT_THAT(error_of({"--prot", "1"}), HasSubstr("did you mean --port?"));
  for (const char* bad : {"{", "[]", R"({"temperature":3})", R"({"top_k":"x"})", R"({"odd":1})"}) {
    EXPECT_THAT(error_of({"--override-generation-config", bad}), HasSubstr("--override-generation-config: "));
  }
}

// Every variable of llama-server stands for a flag of serve, or for one that it accepts or refuses by name; under the
// profile of llama-server alone.
TEST_F(ServeFlags, VariablesOfLlamaServer) {
  std::set<std::string_view> seen;
  for (const EnvironmentName& row : llama_environment()) {
    EXPECT_TRUE(seen.insert(row.variable).second) << row.variable << " stands in two rows";
    EXPECT_THAT(error_of({std::string(row.flag)}), Not(HasSubstr("unknown flag"))) << row.variable;
  }
  ASSERT_TRUE(seen.contains("LLAMA_ARG_PORT") && seen.contains("LLAMA_ARG_ENDPOINT_SLOTS"));
  ::setenv("LLAMA_ARG_PORT", "9123", 1);
  ::setenv("LLAMA_ARG_NO_ENDPOINT_SLOTS", "1", 1);
  for (const char* profile : {"llama-server", "vllm"}) {
    const bool read = std::string_view(profile) == "llama-server";
    auto plan = plan_serve(std::vector<std::string>{"--compat", profile, "model.gguf"});
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    EXPECT_EQ((*plan)->server.port, read ? 9123 : 8000) << profile;
    EXPECT_EQ((*plan)->server.slots_route, !read) << profile;
  }
  ::unsetenv("LLAMA_ARG_PORT");
  ::unsetenv("LLAMA_ARG_NO_ENDPOINT_SLOTS");
}

// What a reload does not apply cannot make it fail.
TEST_F(ServeFlags, AReloadReadsTheFilesOfKeysOnly) {
  const testing::TempDir folder;
  const std::string gone = folder.file("gone");
  const std::string keys = folder.write("keys", "one\ntwo\n");
  for (const char* flag : {"--grammar-file", "--json-schema-file", "--chat-template-file"}) {
    EXPECT_THAT(error_of({flag, gone}), HasSubstr(gone));
    const std::vector<std::string> args = {"model.gguf", flag, gone, "--api-key-file", keys};
    auto again = options_for_reload(args);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(again->api_keys, (std::vector<std::string>{"one", "two"}));
  }
  const std::vector<std::string> args = {"model.gguf", "--api-key-file", gone};
  EXPECT_FALSE(options_for_reload(args).ok());
}

}  // namespace
}  // namespace millrace::app
