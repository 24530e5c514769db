// What the reading of a request costs grows with its size and not with the square of it: every part of a body that may
// be large, in two sizes. Here the answers are checked; tools/check/counted_work.py counts the instructions.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "api/chat.h"
#include "api/completions.h"
#include "api/fields.h"
#include "grammar/compiler.h"
#include "tests/support/counted_work.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

using testing::count_work;

constexpr size_t kSmall = 8 * 1024;  // bytes, about
constexpr size_t kLarge = 4 * kSmall;
constexpr size_t kSizes[] = {kSmall, kLarge};

const Limits kLimits;
const std::vector<std::string> kNames = {"tiny"};
const api::ParseContext kContext{
    .limits = kLimits, .served_names = kNames, .model = {.n_vocab = 151936, .max_len = 131072}};

// So many pieces that they have n_bytes, joined by commas, each with its number in place of '@'.
std::string pieces(std::string_view piece, size_t n_bytes) {
  std::string out;
  for (size_t i = 0; out.size() < n_bytes; ++i) {
    if (i > 0) out += ',';
    for (char c : piece) out += c == '@' ? std::to_string(i) : std::string(1, c);
  }
  return out;
}

std::string repeat(std::string_view text, size_t n_bytes) {
  std::string out;
  while (out.size() < n_bytes) out += text;
  return out;
}

struct BodyRow {
  const char* name;
  const char* before;
  const char* piece;  // as pieces() takes it
  const char* behind;
  bool chat;
  bool accepted;
};

TEST(Work, ReadingABodyGrowsWithIt) {
  const BodyRow rows[] = {
      {"text", R"({"prompt":")", "some words of text ", "\"}", false, true},
      {"escapes", R"({"prompt":")", "\\u00e4\\n", "\"}", false, true},
      {"token ids", R"({"prompt":[)", "@", "]}", false, true},
      {"prompts that are too many", R"({"prompt":[)", "\"a@\"", "]}", false, false},
      {"unknown fields", R"({"prompt":"x",)", R"("key @":0)", "}", false, true},
      {"members", R"({"prompt":"x","user_data":{)", R"("key @":0)", "}}", false, true},
      {"members that are equal at the end", R"({"prompt":"x",)", R"("a@":1)", R"(,"b":1,"b":2})", false, false},
      {"arrays", R"({"prompt":"x","a":[)", "[[]]", "]}", false, true},
      {"numbers", R"({"prompt":"x","a":[)", "1.5e3", "]}", false, true},
      {"no end", R"({"prompt":"x","a":[)", "[1]", "", false, false},
      {"stop strings", R"({"prompt":"x","stop":[)", "\"s@\"", "]}", false, false},
      {"biases", R"({"prompt":"x","logit_bias":{)", "\"@\":1", "}}", false, false},
      {"messages", R"({"messages":[)", R"({"role":"user","content":"some words"})", "]}", true, true},
      {"parts", R"({"messages":[{"role":"user","content":[)", R"({"type":"text","text":"some words"})", "]}]}", true,
       true},
      {"tools",
       R"({"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f",)"
       R"("parameters":{"type":"object","properties":{)",
       R"("key @":{"type":"string"})", "}}}}]}", true, true},
      {"calls", R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[)",
       R"({"id":"c@","type":"function","function":{"name":"f","arguments":"{}"}})",
       R"(]},{"role":"user","content":"x"}]})", true, true},
      {"a schema",
       R"({"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema",)"
       R"("json_schema":{"name":"s","schema":{"type":"object","properties":{)",
       R"("key @":{"type":"string"})", "}}}}}", true, true},
  };
  for (const BodyRow& row : rows) {
    for (size_t size : kSizes) {
      const std::string text = row.before + pieces(row.piece, size) + row.behind;
      bool accepted = false;
      count_work(std::string("body, ") + row.name, text.size(), [&] {
        auto body = api::parse_body(text, kLimits);
        accepted = body.ok() &&
                   (row.chat ? api::parse_chat(*body, kContext).ok() : api::parse_completion(*body, kContext).ok());
      });
      EXPECT_EQ(accepted, row.accepted) << row.name << ", " << text.size() << " bytes";
    }
  }
}

TEST(Work, ReadingAConstraintGrowsWithIt) {
  using flow::ConstraintKind;
  struct Row {
    const char* name;
    ConstraintKind kind;
    std::string (*text)(size_t size);
  };
  const Row rows[] = {
      {"properties", ConstraintKind::kJsonSchema,
       [](size_t size) {
         return R"({"type":"object","properties":{)" + pieces(R"("p@":{"type":"integer"})", size) + "}}";
       }},
      {"required", ConstraintKind::kJsonSchema,
       [](size_t size) {
         return R"({"type":"object","properties":{)" + pieces(R"("p@":{})", size / 2) + R"(},"required":[)" +
                pieces(R"("p@")", size / 4) + "]}";
       }},
      {"values", ConstraintKind::kJsonSchema,
       [](size_t size) { return R"({"enum":[)" + pieces(R"("some value @")", size) + "]}"; }},
      {"alternatives", ConstraintKind::kJsonSchema,
       [](size_t size) {
         return R"({"anyOf":[)" +
                pieces(R"({"type":"array","items":{"const":@},"title":"so that they are not too many"})", size / 2) +
                "]}";
       }},
      {"all of many", ConstraintKind::kJsonSchema,
       [](size_t size) {
         return R"({"type":"object","allOf":[)" +
                pieces(R"({"properties":{"p@":{"type":"integer"}},"title":"so that they are not too many"})",
                       size / 2) +
                "]}";
       }},
      {"references", ConstraintKind::kJsonSchema,
       [](size_t size) {
         return R"({"type":"array","prefixItems":[)" + pieces(R"({"$ref":"#/$defs/the_one_that_is_there"})", size / 4) +
                R"(],"items":false,"$defs":{"the_one_that_is_there":{"type":"integer"}}})";
       }},
      {"rules", ConstraintKind::kGrammar,
       [](size_t size) {
         std::string text = "root ::= r0\n";
         size_t i = 0;
         for (; text.size() < size; ++i)
           text += "r" + std::to_string(i) + " ::= \"a\" r" + std::to_string(i + 1) + "\n";
         return text + "r" + std::to_string(i) + " ::= \"b\"\n";
       }},
      {"alternatives of a rule", ConstraintKind::kGrammar,
       [](size_t size) { return "root ::= \"x\"" + repeat(" | \"abc\" [a-z]", size / 4); }},
      {"words to choose from", ConstraintKind::kChoice,
       [](size_t size) { return "[" + pieces(R"("some word @")", size) + "]"; }},
      {"a pattern", ConstraintKind::kRegex, [](size_t size) { return repeat("(ab|c)[d-f]?", size / 32); }},
  };
  for (const Row& row : rows) {
    for (size_t size : kSizes) {
      const flow::ConstraintSpec spec{.kind = row.kind, .text = row.text(size)};
      std::string error;
      count_work(std::string("constraint, ") + row.name, spec.text.size(), [&] {
        auto read = grammar::read_constraint(spec, kLimits);
        error = read.ok() ? "" : read.error().message;
      });
      EXPECT_EQ(error, "") << row.name << ", " << spec.text.size() << " bytes";
    }
  }
}

text::Tokenizer golden_tokenizer(const std::string& name) {
  std::ifstream file(MILLRACE_SOURCE_DIR "/tests/golden/data/tokenizers/" + name + ".json");
  std::string json{std::istreambuf_iterator<char>(file), {}};
  auto spec = text::spec_from_tokenizer_text(json, "");
  EXPECT_TRUE(spec.ok());
  auto made = text::Tokenizer::create(std::move(*spec));
  EXPECT_TRUE(made.ok());
  return std::move(*made);
}

// Texts that are one pre-token, or of many that are alike, are where a square hides.
TEST(Work, TokenisingGrowsWithTheText) {
  const std::pair<const char*, const char*> texts[] = {{"words", "some words of text, "},
                                                       {"one letter", "a"},
                                                       {"spaces", " "},
                                                       {"line feeds", "\n"},
                                                       {"full stops", "."},
                                                       {"digits", "1234567"},
                                                       {"ideographs", "\u4e2d\u6587"},
                                                       {"marks", "e\u0301\u0302"},
                                                       {"us", "us"},
                                                       {"controls", "\x01\x02"}};
  for (const char* name : {"smollm", "llama2", "t5"}) {
    text::Tokenizer tokenizer = golden_tokenizer(name);
    for (const auto& [what, piece] : texts) {
      for (size_t size : kSizes) {
        const std::string text = repeat(piece, size);
        bool ok = false;
        count_work(std::string("tokens of ") + name + ", " + what, text.size(),
                   [&] { ok = tokenizer.encode(text).ok(); });
        EXPECT_TRUE(ok) << name << ", " << what;
      }
    }
  }
}

TEST(Work, RenderingGrowsWithTheConversation) {
  auto parsed = text::ChatTemplate::parse(
      "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] | trim + '\n' }}{% endfor %}", kLimits);
  ASSERT_TRUE(parsed.ok());
  const std::pair<const char*, const char*> rows[] = {{"messages", R"({"role":"user","content":"some words"})"},
                                                      {"long messages", ""}};
  for (const auto& [name, piece] : rows) {
    for (size_t size : kSizes) {
      std::string one = R"({"role":"user","content":")" + std::string(size, 'w') + "\"}";
      text::Conversation conversation;
      conversation.messages = parse_json("[" + (*piece == 0 ? one : pieces(piece, size)) + "]").value();
      bool ok = false;
      count_work(std::string("template, ") + name, size, [&] { ok = parsed->render(conversation).ok(); });
      EXPECT_TRUE(ok) << name;
    }
  }
}

}  // namespace
}  // namespace millrace
