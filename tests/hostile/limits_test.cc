// Every row of the table of limits: what is at the limit passes, what is one beyond is refused under the row's code
// with a message that names the limit. A row has its case here, or names the test that has it, or stands in kNowhere,
// which may only get shorter. That no flag takes an absurd number: LimitsTest in src/base/base_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <set>
#include <string>

#include "api/chat.h"
#include "api/completions.h"
#include "api/fields.h"
#include "grammar/compiler.h"
#include "text/chat_template.h"

namespace millrace {
namespace {

using flow::ConstraintKind;
using ::testing::HasSubstr;

const std::vector<std::string> kNames = {"tiny"};

std::string times(std::string_view piece, int64_t n, std::string_view between = "") {
  std::string out;
  for (int64_t i = 0; i < n; ++i) {
    if (i > 0) out += between;
    for (char c : piece) out += c == '@' ? std::to_string(i) : std::string(1, c);
  }
  return out;
}

Result<void> completion(const std::string& members, const Limits& limits) {
  const api::ParseContext context{
      .limits = limits, .served_names = kNames, .model = {.n_vocab = 1000, .max_len = 131072}};
  auto body = api::parse_body("{" + members + "}", limits);
  if (!body.ok()) return body.take_error();
  auto request = api::parse_completion(*body, context);
  return request.ok() ? Result<void>() : request.take_error();
}

Result<void> chat(const std::string& members, const Limits& limits) {
  const api::ParseContext context{
      .limits = limits, .served_names = kNames, .model = {.n_vocab = 1000, .max_len = 131072}};
  auto body = api::parse_body("{" + members + "}", limits);
  if (!body.ok()) return body.take_error();
  auto request = api::parse_chat(*body, context);
  return request.ok() ? Result<void>() : request.take_error();
}

template <ConstraintKind kKind>
Result<void> constraint(const std::string& text, const Limits& limits) {
  auto read = grammar::read_constraint({.kind = kKind, .text = text}, limits);
  return read.ok() ? Result<void>() : read.take_error();
}

Result<void> rendered(const std::string& source, const Limits& limits) {
  auto parsed = text::ChatTemplate::parse(source, limits);
  if (!parsed.ok()) return parsed.take_error();
  text::Conversation conversation;
  conversation.messages = parse_json(R"([{"role":"user","content":"x"}])").value();
  auto got = parsed->render(conversation);
  return got.ok() ? Result<void>() : got.take_error();
}

struct Case {
  LimitId id;
  int64_t value;
  Result<void> (*read)(const std::string& text, const Limits& limits);
  std::string (*make)(int64_t n);  // with n of what the row counts
};

const std::string kHello = R"("messages":[{"role":"user","content":"x"}])";

const Case kCases[] = {
    // levels of a schema inside a body count on top, and one of these is two of the body's
    {LimitId::kJsonDepth, 3, completion,
     [](int64_t n) { return R"("prompt":"x","a":)" + times("[", n + 127) + times("]", n + 127); }},
    {LimitId::kJsonNodes, 20, completion,
     [](int64_t n) { return R"("prompt":"x","a":[)" + times("0", n - 3, ",") + "]"; }},
    {LimitId::kMessages, 3, chat,
     [](int64_t n) { return R"("messages":[)" + times(R"({"role":"user","content":"x"})", n, ",") + "]"; }},
    {LimitId::kTools, 2, chat,
     [](int64_t n) {
       return kHello + R"(,"tools":[)" + times(R"({"type":"function","function":{"name":"f@"}})", n, ",") + "]";
     }},
    {LimitId::kBatchPrompts, 3, completion, [](int64_t n) { return R"("prompt":[)" + times("\"x\"", n, ",") + "]"; }},
    {LimitId::kN, 4, completion, [](int64_t n) { return R"("prompt":"x","n":)" + std::to_string(n); }},
    {LimitId::kStopStrings, 3, completion,
     [](int64_t n) { return R"("prompt":"x","stop":[)" + times("\"s@\"", n, ",") + "]"; }},
    {LimitId::kStopBytes, 5, completion, [](int64_t n) { return R"("prompt":"x","stop":[")" + times("s", n) + "\"]"; }},
    {LimitId::kStopTokenIds, 3, completion,
     [](int64_t n) { return R"("prompt":"x","stop_token_ids":[)" + times("@", n, ",") + "]"; }},
    {LimitId::kTopLogprobs, 4, completion, [](int64_t n) { return R"("prompt":"x","logprobs":)" + std::to_string(n); }},
    {LimitId::kLogitBias, 3, completion,
     [](int64_t n) { return R"("prompt":"x","logit_bias":{)" + times("\"@\":1", n, ",") + "}"; }},
    {LimitId::kRequestTimeoutSeconds, 86400, completion,
     [](int64_t n) { return R"("prompt":"x","timeout":)" + std::to_string(n); }},
    {LimitId::kTemplateKwargs, 3, chat,
     [](int64_t n) { return kHello + R"(,"chat_template_kwargs":{)" + times("\"a@\":1", n, ",") + "}"; }},
    // a sign is one level of the parser, and what is around them four
    {LimitId::kTemplateDepth, 10, rendered, [](int64_t n) { return "{{ " + times("-", n - 4) + "1 }}"; }},
    {LimitId::kTemplateRange, 5, rendered, [](int64_t n) { return "{{ range(" + std::to_string(n) + ") }}"; }},
    {LimitId::kSchemaBytes, 64, constraint<ConstraintKind::kJsonSchema>,
     [](int64_t n) { return R"({"title":")" + times("t", n - 12) + "\"}"; }},
    {LimitId::kSchemaDepth, 3, constraint<ConstraintKind::kJsonSchema>,
     [](int64_t n) { return R"({"const":)" + times("[", n - 1) + times("]", n - 1) + "}"; }},
    {LimitId::kSchemaEnum, 3, constraint<ConstraintKind::kJsonSchema>,
     [](int64_t n) { return R"({"enum":[)" + times("@", n, ",") + "]}"; }},
    {LimitId::kSchemaAlternatives, 3, constraint<ConstraintKind::kJsonSchema>,
     [](int64_t n) { return R"({"anyOf":[)" + times(R"({"const":@})", n, ",") + "]}"; }},
    {LimitId::kSchemaProperties, 3, constraint<ConstraintKind::kJsonSchema>,
     [](int64_t n) { return R"({"type":"object","properties":{)" + times(R"("p@":{})", n, ",") + "}}"; }},
    {LimitId::kSchemaRefs, 3, constraint<ConstraintKind::kJsonSchema>,
     [](int64_t n) {
       return R"({"type":"array","prefixItems":[)" + times(R"({"$ref":"#/$defs/a"})", n, ",") +
              R"(],"items":false,"$defs":{"a":{"type":"null"}}})";
     }},
    {LimitId::kGrammarBytes, 64, constraint<ConstraintKind::kGrammar>,
     [](int64_t n) { return "root ::= \"" + times("a", n - 11) + "\""; }},
    {LimitId::kGrammarNesting, 3, constraint<ConstraintKind::kGrammar>,
     [](int64_t n) { return "root ::= " + times("(", n) + "\"a\"" + times(")", n); }},
    {LimitId::kGrammarRules, 6, constraint<ConstraintKind::kGrammar>,
     [](int64_t n) { return "root ::= \"a\"" + times("\nr@ ::= \"b\"", n - 1); }},
    {LimitId::kRegexBytes, 8, constraint<ConstraintKind::kRegex>, [](int64_t n) { return times("a", n); }},
    {LimitId::kRegexNesting, 3, constraint<ConstraintKind::kRegex>,
     [](int64_t n) { return times("(", n) + "a" + times(")", n); }},
};

struct Elsewhere {
  LimitId id;
  const char* file;
  const char* words;  // that stand in it
};

const Elsewhere kElsewhere[] = {
    {LimitId::kUriBytes, "src/server/head_check_test.cc", "LimitId::kUriBytes"},
    {LimitId::kHeaderBytes, "src/server/head_check_test.cc", "LimitId::kHeaderBytes] + 1"},
    {LimitId::kHeadersBytes, "src/server/head_check_test.cc", "LimitId::kHeadersBytes"},
    {LimitId::kHeaderCount, "src/server/head_check_test.cc", "LimitId::kHeaderCount] + 1"},
    {LimitId::kHeaderSeconds, "src/server/connection_test.cc", "with_limit(LimitId::kHeaderSeconds, 1)"},
    {LimitId::kBodyIdleSeconds, "src/server/connection_test.cc", "with_limit(LimitId::kBodyIdleSeconds, 1)"},
    {LimitId::kSendStallSeconds, "src/server/connection_test.cc", "with_limit(LimitId::kSendStallSeconds, 1)"},
    {LimitId::kKeepaliveIdleSeconds, "src/server/connection_test.cc", "with_limit(LimitId::kKeepaliveIdleSeconds, 1)"},
    {LimitId::kBodyBytes, "src/server/connection_test.cc", "TEST(Connection, BodyLimitAtAndBeyond)"},
    {LimitId::kConnections, "src/server/connection_test.cc", "with_limit(LimitId::kConnections, 1)"},
    {LimitId::kConnectionsPerIp, "src/server/connection_test.cc", "LimitId::kConnectionsPerIp, 2"},
    {LimitId::kRequestsPerKey, "src/server/connection_test.cc", "with_limit(LimitId::kRequestsPerKey, 2)"},
    {LimitId::kChoices, "src/server/generation_test.cc", "n x prompts = 16512"},
    {LimitId::kQueuedRequests, "src/server/overload_test.cc", "TEST(Overload, FullQueueIs503WithRetryAfter)"},
    {LimitId::kQueuedTokens, "src/engine/engine_test.cc", "max_queued_tokens"},
    {LimitId::kQueuedBytes, "src/server/connection_test.cc", "with_limit(LimitId::kQueuedBytes"},
    {LimitId::kSseRingBytes, "src/server/generation_test.cc", "LimitId::kSseRingBytes, 8 * 1024"},
    {LimitId::kParkSeconds, "src/server/generation_test.cc", "LimitId::kParkSeconds, 1"},
    {LimitId::kTemplateSteps, "tests/hostile/template_test.cc", "chat template exceeded 1000000 steps"},
    {LimitId::kTemplateOutput, "tests/hostile/template_test.cc", "template output exceeds"},
    {LimitId::kPretokPatternBytes, "tests/hostile/tokenizer_files_test.cc", "bytes, limit 4096"},
    {LimitId::kMatchSteps, "tests/hostile/tokenizer_files_test.cc", "match steps"},
    {LimitId::kGgufTensors, "tests/hostile/model_files_test.cc", "exceeds limit 65536"},
    {LimitId::kGgufKeys, "tests/hostile/model_files_test.cc", "key count"},
    {LimitId::kGgufStringBytes, "tests/hostile/model_files_test.cc", "string length"},
    {LimitId::kSafetensorsHeaderBytes, "tests/hostile/model_folders_test.cc", "limit 100000000"},
    {LimitId::kVocabulary, "tests/hostile/tokenizer_files_test.cc", "must be 0..1999999"},
    {LimitId::kTokenBytes, "tests/hostile/tokenizer_files_test.cc", "limit 4096"},
    {LimitId::kCompileMs, "tests/hostile/grammar_test.cc", "LimitId::kCompileMs, 20"},
    {LimitId::kRequestIdBytes, "src/server/connection_test.cc", "std::string(129, 'a')"},
    {LimitId::kKeyBytes, "src/server/auth_test.cc", "std::string(513, 'k')"},
    {LimitId::kDrainSeconds, "src/server/http_server_test.cc", "LimitId::kDrainSeconds, 1"},
    {LimitId::kLiveStallSeconds, "src/server/http_server_test.cc", "LimitId::kLiveStallSeconds"},
    {LimitId::kWatchdogSeconds, "src/server/http_server_test.cc", "LimitId::kWatchdogSeconds"},
};

// Tests of their own below.
const LimitId kBelow[] = {LimitId::kGrammarStates, LimitId::kCompileBytes, LimitId::kCompileQueue};

// kPipelined and kStreamCredits bound what is read ahead and what is sent ahead: how far shows in no answer. Files of
// so many bytes or merges are too large for a test.
const LimitId kNowhere[] = {LimitId::kPipelined, LimitId::kStreamCredits, LimitId::kMerges, LimitId::kConfigBytes,
                            LimitId::kTokenizerBytes};

TEST(LimitTest, EveryRowHasItsTest) {
  std::multiset<LimitId> seen;
  for (const Case& row : kCases) seen.insert(row.id);
  for (const Elsewhere& row : kElsewhere) {
    seen.insert(row.id);
    std::ifstream file(std::string(MILLRACE_SOURCE_DIR "/") + row.file);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    EXPECT_THAT(text, HasSubstr(row.words)) << row.file;
  }
  seen.insert(std::begin(kBelow), std::end(kBelow));
  seen.insert(std::begin(kNowhere), std::end(kNowhere));
  for (const Limit& row : limit_table()) EXPECT_EQ(seen.count(row.id), 1u) << row.name;
  EXPECT_EQ(std::size(kNowhere), 5u) << "it may only get shorter";
}

TEST(LimitTest, AtTheLimitAndOneBeyond) {
  for (const Case& row : kCases) {
    const Limit& limit = limit_table()[static_cast<size_t>(row.id)];
    Limits limits;
    if (!limit.flag.empty()) {
      ASSERT_TRUE(limits.set(row.id, row.value).ok()) << limit.name;
    }
    ASSERT_EQ(limits[row.id], row.value) << limit.name;
    Result<void> at = row.read(row.make(row.value), limits);
    EXPECT_TRUE(at.ok()) << limit.name << ": " << at.error().message;
    Result<void> beyond = row.read(row.make(row.value + 1), limits);
    ASSERT_FALSE(beyond.ok()) << limit.name << ": " << row.make(row.value + 1);
    EXPECT_EQ(beyond.error().code, limit.code) << limit.name << ": " << beyond.error().message;
    if (row.id == LimitId::kJsonDepth) continue;  // names the sum
    EXPECT_THAT(beyond.error().message, HasSubstr(std::to_string(row.value))) << limit.name;
  }
}

TEST(LimitTest, StatesOfAGrammar) {
  Limits limits;
  ASSERT_TRUE(limits.set(LimitId::kGrammarStates, 200).ok());
  auto refused = [&](int64_t n) {
    auto read = constraint<ConstraintKind::kGrammar>("root ::= \"" + times("a", n) + "\"", limits);
    if (read.ok()) return false;
    EXPECT_EQ(read.error().code, ErrorCode::kInvalidGrammar);
    EXPECT_THAT(read.error().message, HasSubstr("limit 200"));
    return true;
  };
  EXPECT_FALSE(refused(100));
  EXPECT_TRUE(refused(210));
}

grammar::Vocabulary bytes_only() {
  grammar::Vocabulary out;
  out.tokens = {""};
  out.specials = {0};
  out.end_tokens = {0};
  for (int byte = 0; byte < 256; ++byte) out.tokens.emplace_back(1, static_cast<char>(byte));
  return out;
}

TEST(LimitTest, ConstraintsThatWaitForACompiler) {
  Limits limits;
  ASSERT_TRUE(limits.set(LimitId::kCompileQueue, 2).ok());
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  std::promise<void> busy;
  grammar::Compiler compiler(bytes_only(), limits, 1);
  auto post = [&](const char* regex, const std::function<void()>& then) {
    return compiler.post({.kind = ConstraintKind::kRegex, .text = regex}, [then](const auto&) { then(); });
  };
  ASSERT_TRUE(post("a", [&busy, open] {
                busy.set_value();
                open.wait();
              }).ok());
  busy.get_future().wait();
  EXPECT_TRUE(post("b", [] {}).ok());
  EXPECT_TRUE(post("c", [] {}).ok());
  Result<void> beyond = post("d", [] { ADD_FAILURE() << "refused, and done nevertheless"; });
  EXPECT_FALSE(beyond.ok());
  if (!beyond.ok()) {
    EXPECT_EQ(beyond.error().code, ErrorCode::kConstraintQueueFull);
    EXPECT_THAT(beyond.error().message, HasSubstr("2 constraints wait"));
  }
  gate.set_value();
}

TEST(LimitTest, BytesOfACompiledConstraint) {
  const flow::ConstraintSpec spec{.kind = ConstraintKind::kJsonObject};
  grammar::Compiler roomy(bytes_only(), Limits(), 1);
  EXPECT_TRUE(roomy.compile(spec).ok());
  Limits limits;
  ASSERT_TRUE(limits.set(LimitId::kCompileBytes, 100).ok());
  grammar::Compiler tight(bytes_only(), limits, 1);
  auto refused = tight.compile(spec);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kConstraintTooCostly);
}

}  // namespace
}  // namespace millrace
