// Constraints made to hurt: each is accepted or refused within the work that fits into 500 ms (counted, so the same on
// every machine), by a compiler that keeps its limits, and none brings more than its own request down (rows G01 to
// G18).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/philox.h"
#include "grammar/compiler.h"
#include "tests/hostile/refusal.h"

namespace millrace::grammar {
namespace {

using flow::ConstraintKind;
using ::testing::HasSubstr;

std::string repeat(std::string_view text, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

// `n` pieces, each with its number in place of '@', joined by commas.
std::string numbered(std::string_view piece, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) {
    if (i > 0) out += ',';
    for (char c : piece) out += c == '@' ? std::to_string(i) : std::string(1, c);
  }
  return out;
}

// 8,000 words of one to ten letters, half of them behind a space, and all bytes.
Vocabulary words() {
  constexpr size_t kWords = 8000;
  Vocabulary out;
  out.tokens = {""};
  out.specials = {0};
  out.end_tokens = {0};
  for (int byte = 0; byte < 256; ++byte) out.tokens.emplace_back(1, static_cast<char>(byte));
  for (uint32_t i = 0; i < kWords; ++i) {
    PhiloxBlock bits = philox4x32(5, {i, 0, 0, 0});
    std::string word(bits[0] % 2, ' ');
    for (uint32_t k = 0; k < 1 + bits[1] % 10; ++k) word += static_cast<char>('a' + (bits[2] >> k * 2) % 26);
    out.tokens.push_back(std::move(word));
  }
  return out;
}

// `n` integer properties whose names begin with 12 random letters.
std::string unlike_names(uint32_t n) {
  std::string out;
  for (uint32_t i = 0; i < n; ++i) {
    PhiloxBlock bits = philox4x32(9, {i, 0, 0, 0});
    out += i == 0 ? "\"" : ",\"";
    for (uint32_t k = 0; k < 12; ++k) out += static_cast<char>('a' + (bits[k % 4] >> k / 4 * 8) % 26);
    out += std::to_string(i) + R"(":{"type":"integer"})";
  }
  return out;
}

// An object of `n` levels, the member of the last one of which is `inside`.
std::string deep_by(size_t n, std::string inside) {
  for (size_t i = 0; i < n; ++i) {
    inside = R"({"type":"object","properties":{"a":)" + inside + R"(},"required":["a"]})";
  }
  return inside;
}

struct Row {
  const char* name;
  ConstraintKind kind;
  std::string text;
  std::string want;  // part of the message; empty: accepted; "*": either
};

std::vector<Row> rows() {
  std::string deep = deep_by(40, R"({"type":"integer"})");
  std::string too_deep = R"({"type":"integer"})";
  for (int i = 0; i < 64; ++i) too_deep = R"({"items":)" + too_deep + "}";
  std::string choices = R"({"type":"integer"})";
  for (int i = 0; i < 12; ++i) {
    choices = R"({"anyOf":[{"properties":{"x":)" + choices + R"(}},{"properties":{"y":)" + choices + R"(}}]})";
    if (choices.size() > 200'000) break;
  }
  std::string chain = "root ::= a0\na15000 ::= \"x\"\n";
  for (int i = 0; i < 15'000; ++i) chain += "a" + std::to_string(i) + "::=a" + std::to_string(i + 1) + "\n";
  std::string many_rules = "root ::= \"a\"\n";
  for (int i = 0; i < 21'000; ++i) many_rules += "r" + std::to_string(i) + "::=\"\"\n";
  constexpr auto kSchema = ConstraintKind::kJsonSchema;
  constexpr auto kRegex = ConstraintKind::kRegex;
  constexpr auto kGrammar = ConstraintKind::kGrammar;
  return {
      {"depth 40", kSchema, deep, ""},
      {"depth 65", kSchema, too_deep, "nesting deeper than 64"},
      {"depth 65, of objects", kSchema, R"({"properties":{"a":)" + deep_by(24, deep) + "}}", "nesting deeper than 64"},
      {"depth 1000", kSchema, deep_by(1000, "{}"), "nesting deeper than"},
      {"a value of 65 levels", kSchema, R"({"const":)" + repeat("[", 64) + repeat("]", 64) + "}",
       "nesting deeper than 64"},
      {"maxLength 10000", kSchema, R"({"type":"string","maxLength":10000})", ""},
      {"minLength 10000", kSchema, R"({"type":"string","minLength":10000})", ""},
      {"2,000 properties", kSchema,
       R"({"type":"object","properties":{)" + numbered(R"("p@":{"type":"integer"})", 2000) + "}}", ""},
      {"2,000 long texts", kSchema,
       R"({"type":"object","properties":{)" + numbered(R"("p@":{"type":"string","maxLength":10000})", 2000) + "}}", ""},
      {"2,000 names alike in nothing", kSchema, R"({"type":"object","properties":{)" + unlike_names(2000) + "}}", ""},
      {"2,000 required", kSchema,
       R"({"type":"object","properties":{)" + numbered(R"("p@":{"type":"integer"})", 2000) + R"(},"required":[)" +
           numbered(R"("p@")", 2000) + "]}",
       ""},
      {"300 bounded numbers", kSchema,
       R"({"type":"object","properties":{)" +
           numbered(R"("p@":{"type":"number","minimum":@.37,"maximum":9@.11})", 300) + "}}",
       ""},
      {"1,000 ranges of numbers", kSchema,
       R"({"anyOf":[)" + numbered(R"({"type":"number","minimum":@.37,"maximum":9@.11})", 1000) + "]}", "*"},
      {"100,000 properties", kSchema, R"({"properties":{)" + numbered(R"("p@":{})", 15'000) + "}}", "limit 10000"},
      {"enum of 2,000", kSchema, R"({"enum":[)" + numbered(R"("v@")", 2000) + "]}", ""},
      {"enum of 10,001", kSchema, R"({"enum":[)" + numbered("@", 10'001) + "]}", "limit 10000"},
      {"anyOf of 10,000", kSchema, R"({"anyOf":[)" + numbered(R"({"const":@})", 10'000) + "]}", "limit 1000"},
      {"40 tools", kSchema,
       R"({"anyOf":[)" +
           numbered(R"({"properties":{"name":{"const":"t@"},"q":{"maxLength":10000}},"required":["name"]})", 40) + "]}",
       ""},
      {"choices of choices", kSchema, choices, "*"},
      {"cycle without content", kSchema, R"({"$ref":"#"})", "*"},
      {"endless recursion", kSchema, R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})",
       "no text matches"},
      {"256 KiB", kSchema, R"({"const":")" + repeat("x", 300'000) + "\"}", "limit 262144"},
      {"pattern of 100,000 parentheses", kSchema, R"({"type":"string","pattern":")" + repeat("(", 100'000) + "\"}",
       "regex of 100000 bytes, limit 4096"},
      {"pattern nested", kSchema, R"({"type":"string","pattern":")" + repeat("(", 1000) + "\"}",
       "nesting deeper than 64"},
      {"nested stars", kRegex, "(a+)+b", ""},
      {"ambiguous", kRegex, "(a|aa)*c", ""},
      {"dots", kRegex, ".{0,30}.{0,30}.{0,30}.{0,30}", "*"},
      {"wide classes", kRegex, repeat("[^a]{1000}", 20), "*"},
      {"exponential", kRegex, "((a{0,100}){0,100}){0,100}", "repetition expands to"},
      {"subset construction", kRegex, "(.*a){20}", "*"},
      {"large", kRegex, repeat("a", 5000), "limit 4096"},
      {"60,000 parentheses", kGrammar, "root ::= " + repeat("(", 60'000), "grammar nesting deeper than 256"},
      {"chain of 15,000 rules", kGrammar, chain, ""},
      {"nested repeats", kGrammar, "root ::= (((\"x\"{0,2000}){0,2000}){0,2000})", "repetition expands to"},
      {"left recursion", kGrammar, "root ::= root \"a\" | \"b\"", ""},
      {"nullable recursion", kGrammar, "root ::= root root | \"a\" | \"\"", ""},
      {"mutual recursion", kGrammar, "root ::= a\na ::= root \"x\" | b\nb ::= a \"y\" | \"z\"", ""},
      {"10 MB", kGrammar, "root ::= \"" + repeat("x", 10'000'000) + "\"", "limit 262144"},
      {"21,000 rules", kGrammar, many_rules, "more than 20000 rules"},
  };
}

TEST(HostileGrammar, AcceptedOrRefusedInHalfASecond) {
  constexpr uint64_t kMostSteps = 6'000'000;  // of a limit of 500 ms, with this vocabulary; the last ones overshoot
  Limits patient_limits;                      // a busy machine takes longer by the clock; what is bounded here is work
  ASSERT_TRUE(patient_limits.set(LimitId::kCompileMs, 10'000).ok());
  Compiler hasty(words(), Limits(), 1);
  Compiler patient(words(), patient_limits, 1);
  for (Compiler* each : {&hasty, &patient}) {
    ASSERT_TRUE(each->compile({.kind = ConstraintKind::kRegex, .text = "a"}).ok());  // the vocabulary is sorted once
  }
  for (const Row& row : rows()) {
    if (&__asan_init != nullptr && row.want == "*") continue;  // only the budget ends these, and it is not kept here
    Compiler& compiler = row.want.empty() ? patient : hasty;
    uint64_t n_before = compiler.counts().n_steps;
    auto compiled = compiler.compile({.kind = row.kind, .text = row.text});
    EXPECT_LT(compiler.counts().n_steps - n_before, kMostSteps) << row.name;
    if (row.want.empty()) {
      EXPECT_TRUE(compiled.ok()) << row.name << ": " << (compiled.ok() ? "" : compiled.error().message);
    } else if (row.want != "*") {
      ASSERT_FALSE(compiled.ok()) << row.name;
      EXPECT_THAT(compiled.error().message, HasSubstr(row.want)) << row.name;
    }
    if (!compiled.ok()) continue;
    auto matcher = (*compiled)->matcher();
    std::vector<uint32_t> mask((*compiled)->n_mask_words());
    matcher->fill(mask);
    EXPECT_NE(mask, std::vector<uint32_t>(mask.size(), 0u)) << row.name;
  }
}

// What is accepted does not depend on the machine or its load: the work is counted, and the same each time.
TEST(HostileGrammar, TheLimitIsCountedWork) {
  if (&__asan_init != nullptr) return;  // allocations are not counted there
  const std::string schema = R"({"type":"object","properties":{)" + unlike_names(2000) + "}}";
  uint64_t counts[2] = {};
  for (uint64_t& count : counts) {
    Compiler compiler(words(), Limits(), 1);
    ASSERT_TRUE(compiler.compile({.kind = ConstraintKind::kJsonSchema, .text = schema}).ok());
    count = compiler.counts().n_steps;
  }
  EXPECT_EQ(counts[0], counts[1]);
  EXPECT_GT(counts[0], 400'000u);
  EXPECT_LT(counts[0], 6'000'000u);
  Limits small;
  ASSERT_TRUE(small.set(LimitId::kCompileMs, 20).ok());
  Compiler compiler(words(), small, 1);
  auto refused = compiler.compile({.kind = ConstraintKind::kJsonSchema, .text = schema});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kConstraintTooCostly);
  EXPECT_THAT(refused.error().message, HasSubstr("more work to compile than fits into 20 ms"));
}

// A constraint that compiles, and whose masks would take seconds each while all other sequences of the step wait.
TEST(HostileGrammar, AMaskThatCostsTooMuchEndsItsSequence) {
  if (&__asan_init != nullptr) return;  // allocations are not counted there
  std::string any;
  for (int i = 0; i < 100; ++i) any += std::string("[^") + static_cast<char>('a' + i % 26) + "]?";
  Compiler compiler(words(), Limits(), 1);
  auto compiled = compiler.compile({.kind = ConstraintKind::kRegex, .text = "(" + any + "){1,9}"});
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  auto matcher = (*compiled)->matcher();
  std::vector<uint32_t> mask((*compiled)->n_mask_words());
  const std::vector<uint32_t> nothing(mask.size(), 0u);
  constexpr TokenId kLetter = 1 + '0';
  uint32_t n_taken = 0;
  for (matcher->fill(mask); mask != nothing && n_taken < 300; matcher->fill(mask)) {
    if (!matcher->accept(kLetter)) break;
    ++n_taken;
  }
  ASSERT_LT(n_taken, 300u);
  matcher->fill(mask);
  EXPECT_EQ(mask, nothing);
  EXPECT_FALSE(matcher->accept(kLetter));
  EXPECT_FALSE(matcher->ended());
  matcher->rollback(n_taken);  // of no use, and no harm
  matcher->fill(mask);
  EXPECT_EQ(mask, nothing);
}

}  // namespace
}  // namespace millrace::grammar
