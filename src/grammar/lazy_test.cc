// Constraints that begin with a trigger, and white space by a pattern of the request.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "grammar/compiler.h"

namespace millrace::grammar {
namespace {

using flow::ConstraintKind;
using flow::ConstraintSpec;
using ::testing::HasSubstr;

constexpr TokenId kEnd = 0;
constexpr TokenId kSpecial = 1;
constexpr TokenId kFirstPiece = 2 + 128;

// All ASCII bytes, the end, one special token, and some longer pieces.
Vocabulary letters(std::vector<std::string> pieces = {}) {
  Vocabulary out;
  out.tokens = {"", "<call>"};
  out.specials = {kSpecial};
  out.end_tokens = {kEnd};
  for (int byte = 0; byte < 128; ++byte) out.tokens.emplace_back(1, static_cast<char>(byte));
  for (std::string& piece : pieces) out.tokens.push_back(std::move(piece));
  return out;
}

TokenId byte_token(char c) { return static_cast<TokenId>(2 + c); }

bool accept_text(flow::TokenMatcher& matcher, std::string_view text) {
  for (char c : text) {
    if (!matcher.accept(byte_token(c))) return false;
  }
  return true;
}

std::shared_ptr<const flow::Constraint> compiled(const ConstraintSpec& spec, std::vector<std::string> pieces = {}) {
  Compiler compiler(letters(std::move(pieces)), Limits(), 1);
  auto result = compiler.compile(spec);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? *result : nullptr;
}

bool allows(const ConstraintSpec& spec, std::string_view text) {
  auto constraint = compiled(spec);
  if (constraint == nullptr) return false;
  auto matcher = constraint->matcher();
  return accept_text(*matcher, text) && matcher->accept(kEnd);
}

bool may_come(flow::TokenMatcher& matcher, const flow::Constraint& constraint, TokenId token) {
  std::vector<uint32_t> mask(constraint.n_mask_words());
  matcher.fill(mask);
  auto bit = static_cast<size_t>(token);
  return (mask[bit / 32] >> (bit % 32) & 1) != 0;
}

using flow::Trigger;
using flow::TriggerKind;

ConstraintSpec lazy(std::string grammar, std::vector<Trigger> triggers) {
  ConstraintSpec spec{.kind = ConstraintKind::kGrammar, .text = std::move(grammar), .param = "grammar"};
  spec.triggers = std::move(triggers);
  return spec;
}

Trigger word(std::string text) { return {.kind = TriggerKind::kWord, .text = std::move(text)}; }
Trigger pattern(std::string text) { return {.kind = TriggerKind::kPattern, .text = std::move(text)}; }
Trigger whole_pattern(std::string text) { return {.kind = TriggerKind::kWholePattern, .text = std::move(text)}; }

TEST(LazyGrammar, TextIsFreeUntilTheTriggerWithWhichTheGrammarBegins) {
  const ConstraintSpec spec = lazy("root ::= \"<f>\" [0-9]+ \"</f>\"", {word("<f>")});
  EXPECT_TRUE(allows(spec, ""));
  EXPECT_TRUE(allows(spec, "no call at all <f or f>"));
  EXPECT_TRUE(allows(spec, "well: <f>42</f>"));
  EXPECT_TRUE(allows(spec, "<<f>4</f>"));
  EXPECT_FALSE(allows(spec, "well: <f>x"));
  EXPECT_FALSE(allows(spec, "well: <f>42"));
  EXPECT_FALSE(allows(spec, "<f>42</f> more"));
}

TEST(LazyGrammar, OfSeveralTriggersTheFirstInTheText) {
  const ConstraintSpec spec = lazy("root ::= \"[a]\" [0-9] | \"{b}\" [x-z]", {word("[a]"), word("{b}")});
  EXPECT_TRUE(allows(spec, "one [a]1"));
  EXPECT_TRUE(allows(spec, "two {b}z"));
  EXPECT_FALSE(allows(spec, "one [a]z"));
  EXPECT_FALSE(allows(spec, "one [a]1{b}z"));
}

TEST(LazyGrammar, ATokenAcrossTheTriggerBelongsToTheGrammarFromThere) {
  const ConstraintSpec spec = lazy("root ::= \"<f>\" [0-9]+", {word("<f>")});
  auto constraint = compiled(spec, {"so: <f>7", "so: <f>x", "f>9"});
  ASSERT_NE(constraint, nullptr);
  auto matcher = constraint->matcher();
  EXPECT_TRUE(may_come(*matcher, *constraint, kFirstPiece));
  EXPECT_FALSE(may_come(*matcher, *constraint, kFirstPiece + 1)) << "the grammar would be broken inside it";
  EXPECT_TRUE(may_come(*matcher, *constraint, kEnd));
  EXPECT_TRUE(may_come(*matcher, *constraint, byte_token('x')));
  EXPECT_FALSE(matcher->accept(kFirstPiece + 1));
  ASSERT_TRUE(matcher->accept(byte_token('<')));
  ASSERT_TRUE(matcher->accept(kFirstPiece + 2));
  EXPECT_FALSE(may_come(*matcher, *constraint, byte_token('x')));
  EXPECT_TRUE(may_come(*matcher, *constraint, byte_token('3')));
  EXPECT_TRUE(may_come(*matcher, *constraint, kEnd));
  matcher->rollback(1);
  EXPECT_TRUE(may_come(*matcher, *constraint, byte_token('x'))) << "free again";
  ASSERT_TRUE(matcher->accept(kEnd));
  EXPECT_TRUE(matcher->ended());
  matcher->rollback(1);
  EXPECT_FALSE(matcher->ended());
  EXPECT_TRUE(matcher->ends_within(1));
}

TEST(LazyGrammar, ASpecialTokenIsATrigger) {
  auto constraint = compiled(lazy("root ::= \"<call>\" [0-9]", {word("<call>")}));
  ASSERT_NE(constraint, nullptr);
  auto matcher = constraint->matcher();
  ASSERT_TRUE(accept_text(*matcher, "hm "));
  ASSERT_TRUE(matcher->accept(kSpecial));
  EXPECT_FALSE(matcher->accept(byte_token('x')));
  EXPECT_TRUE(matcher->accept(byte_token('5')));
  EXPECT_FALSE(matcher->accept(kSpecial));
  EXPECT_TRUE(matcher->accept(kEnd));
}

TEST(LazyGrammar, ATriggerThatTheGrammarDoesNotBeginWithIsRefused) {
  Compiler compiler(letters(), Limits(), 1);
  auto refused = compiler.compile(lazy("root ::= \"<g>\" [0-9]", {word("<g>"), word("<f>")}));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidGrammar);
  EXPECT_EQ(refused.error().message, "grammar: no text of it begins with the trigger \"<f>\"");
  EXPECT_TRUE(compiler.compile(lazy("root ::= \"<g>\" [0-9]", {word("<g>")})).ok()) << "another entry of the cache";
}

TEST(LazyGrammar, ATokenIsATriggerAndItsTextIsNot) {
  auto constraint =
      compiled(lazy("root ::= \"ab\" [0-9]", {{.kind = TriggerKind::kToken, .token = kFirstPiece}}), {"ab"});
  ASSERT_NE(constraint, nullptr);
  auto matcher = constraint->matcher();
  ASSERT_TRUE(accept_text(*matcher, "abx ab"));
  ASSERT_TRUE(matcher->accept(kFirstPiece));
  EXPECT_FALSE(may_come(*matcher, *constraint, byte_token('x')));
  EXPECT_FALSE(may_come(*matcher, *constraint, kEnd));
  EXPECT_TRUE(matcher->accept(byte_token('7')));
  EXPECT_TRUE(matcher->accept(kEnd));
}

TEST(LazyGrammar, APatternBeginsWithItsFirstGroupThatIsNotEmpty) {
  const std::string grammar = "root ::= \"{\" [0-9]+ \"}\"";
  const ConstraintSpec search = lazy(grammar, {pattern("call:\\s*()(\\{)")});
  EXPECT_TRUE(allows(search, "a call: {12}"));
  EXPECT_TRUE(allows(search, "{x} call; {x}"));
  EXPECT_FALSE(allows(search, "a call: {x"));
  EXPECT_FALSE(allows(search, "a call:{1} "));
  const ConstraintSpec whole = lazy(grammar, {whole_pattern("[\\s\\S]*?(\\{)")});
  EXPECT_TRUE(allows(whole, "\n say {12}"));
  EXPECT_FALSE(allows(whole, "say {x"));
  const ConstraintSpec from_start = lazy(grammar, {whole_pattern("\\s*(\\{)")});
  EXPECT_TRUE(allows(from_start, " {12}"));
  EXPECT_FALSE(allows(from_start, " {x"));
  EXPECT_TRUE(allows(from_start, "no {x"));
}

TEST(LazyGrammar, TokensInWhichAPatternIsCompletedAreFoundInTheVocabulary) {
  const ConstraintSpec spec = lazy("root ::= \"{\" [0-9]+", {pattern("\\bcall|call(\\{)")});
  Compiler compiler(letters(), Limits(), 1);
  EXPECT_FALSE(compiler.compile(spec).ok()) << "word boundaries are refused";
  auto constraint =
      compiled(lazy("root ::= \"{\" [0-9]+", {pattern("call(\\{)")}), {"call{1", "call{x", "l{2", "l{x", "{"});
  ASSERT_NE(constraint, nullptr);
  auto matcher = constraint->matcher();
  EXPECT_TRUE(may_come(*matcher, *constraint, kFirstPiece));
  EXPECT_FALSE(may_come(*matcher, *constraint, kFirstPiece + 1));
  EXPECT_TRUE(may_come(*matcher, *constraint, kFirstPiece + 3)) << "no trigger yet";
  ASSERT_TRUE(accept_text(*matcher, "cal"));
  EXPECT_TRUE(may_come(*matcher, *constraint, kFirstPiece + 2));
  EXPECT_FALSE(may_come(*matcher, *constraint, kFirstPiece + 3));
  ASSERT_TRUE(matcher->accept(kFirstPiece + 2));
  EXPECT_FALSE(may_come(*matcher, *constraint, byte_token('x')));
  EXPECT_TRUE(may_come(*matcher, *constraint, byte_token('0')));
  matcher->rollback(2);
  EXPECT_TRUE(may_come(*matcher, *constraint, kFirstPiece + 3)) << "behind \"ca\" it completes nothing";
  ASSERT_TRUE(accept_text(*matcher, "ll{"));
  EXPECT_TRUE(may_come(*matcher, *constraint, byte_token('0')));
  EXPECT_FALSE(may_come(*matcher, *constraint, kEnd));
}

// A beginning of "<" [0-9]{1,3} ">".
bool begins_an_answer(std::string_view text) {
  if (!text.starts_with('<')) return false;
  text.remove_prefix(1);
  size_t n_digits = 0;
  while (n_digits < text.size() && text[n_digits] >= '0' && text[n_digits] <= '9') ++n_digits;
  text.remove_prefix(n_digits);
  return n_digits <= 3 && (text.empty() || (text == ">" && n_digits > 0));
}

// Random texts of few letters, token by token with rollbacks: what is allowed is what ends in a text that obeys.
TEST(LazyGrammar, WhatComesBehindATriggerObeysTheGrammarWhateverIsTakenBack) {
  const std::string grammar = "root ::= \"<\" [0-9]{1,3} \">\"";
  const std::vector<std::string> pieces = {"a<", "<1", "1>", "a<1>", "<>", "<a", "<12", ">a", "\xC3\xA9", "<1>a"};
  std::mt19937 random(7);
  size_t n_begun = 0;
  for (const Trigger& trigger : {word("<"), pattern("<"), pattern("(?:x|a)*(<)"), whole_pattern("[^<]*(<)[\\s\\S]*")}) {
    auto constraint = compiled(lazy(grammar, {trigger}), pieces);
    ASSERT_NE(constraint, nullptr);
    const auto texts = letters(pieces).tokens;
    for (int answer = 0; answer < 100; ++answer) {
      auto matcher = constraint->matcher();
      std::vector<TokenId> taken;
      while (!matcher->ended() && taken.size() < 40) {
        if (!taken.empty() && random() % 4 == 0) {
          const auto n = static_cast<uint32_t>(1 + random() % std::min<size_t>(3, taken.size()));
          matcher->rollback(n);
          taken.resize(taken.size() - n);
        }
        std::vector<TokenId> some = {kEnd, byte_token('a'), byte_token('<'), byte_token('>'), byte_token('3')};
        for (size_t i = 0; i < pieces.size(); ++i) some.push_back(static_cast<TokenId>(kFirstPiece + i));
        std::erase_if(some, [&](TokenId token) { return !may_come(*matcher, *constraint, token); });
        ASSERT_FALSE(some.empty());
        const TokenId token = some[random() % some.size()];
        ASSERT_TRUE(matcher->accept(token)) << "the mask allowed " << texts[static_cast<size_t>(token)];
        taken.push_back(token);
      }
      std::string text;
      for (TokenId token : taken) text += texts[static_cast<size_t>(token)];
      const size_t begin = text.find('<');
      if (begin == std::string::npos) continue;
      ++n_begun;
      const std::string rest = text.substr(begin);
      if (matcher->ended()) {
        EXPECT_TRUE(begins_an_answer(rest) && rest.size() > 2 && rest.back() == '>') << text;
      } else {
        EXPECT_TRUE(begins_an_answer(rest)) << text;
      }
    }
  }
  EXPECT_GT(n_begun, 200u);
}

TEST(LazyGrammar, WhatBeginsLateEndsInTime) {
  auto constraint = compiled(lazy("root ::= \"<\" [0-9]{4} \">\"", {word("<")}));
  ASSERT_NE(constraint, nullptr);
  auto matcher = constraint->matcher();
  ASSERT_TRUE(accept_text(*matcher, "a"));
  EXPECT_TRUE(matcher->ends_within(1));
  std::vector<uint32_t> mask(constraint->n_mask_words());
  auto allowed = [&](TokenId token) { return (mask[static_cast<size_t>(token) / 32] >> (token % 32) & 1) != 0; };
  matcher->fill(mask);
  matcher->keep_ending(mask, 7);
  EXPECT_TRUE(allowed(byte_token('<'))) << "four digits, the end of the text, and the end";
  matcher->keep_ending(mask, 6);
  EXPECT_FALSE(allowed(byte_token('<')));
  EXPECT_TRUE(allowed(byte_token('a')));
}

ConstraintSpec spaced(std::string pattern) {
  ConstraintSpec spec{.kind = ConstraintKind::kJsonSchema,
                      .text = R"({"type":"array","items":{"type":"integer","minimum":1,"maximum":9}})",
                      .param = "structured_outputs.json"};
  spec.whitespace = std::move(pattern);
  return spec;
}

TEST(WhiteSpace, IsWhatThePatternMatches) {
  EXPECT_TRUE(allows(spaced("[ \\n]{0,3}"), "[1,  \n2]"));
  EXPECT_FALSE(allows(spaced("[ \\n]{0,3}"), "[1,    2]"));
  EXPECT_FALSE(allows(spaced("[ \\n]{0,3}"), "[1,\t2]"));
  EXPECT_TRUE(allows(spaced(" ?"), "[1, 2]"));
  EXPECT_TRUE(allows(spaced(" ?"), "[1,2]"));
  EXPECT_FALSE(allows(spaced(" ?"), "[1,\n2]"));
  EXPECT_TRUE(allows(spaced("\\s*"), "[1,\r\n\t  2]"));
  EXPECT_FALSE(allows(spaced("\\s*"), "[1,\v2]")) << "white space to a regular expression, none to JSON";
  EXPECT_TRUE(allows(spaced("[^a]"), "[ 1, 2 ]"));
  EXPECT_FALSE(allows(spaced("[^a]"), "[b1,b2b]"));
  ConstraintSpec object{.kind = ConstraintKind::kJsonObject};
  object.whitespace = "\\n?";
  EXPECT_TRUE(allows(object, "{\n\"a\":\n1}"));
  EXPECT_FALSE(allows(object, "{ \"a\":1}"));
}

TEST(WhiteSpace, PatternsThatAreNoneAreRefused) {
  Compiler compiler(letters(), Limits(), 1);
  struct Row {
    const char* pattern;
    const char* message;
  };
  for (const Row& row :
       {Row{"(", "whitespace_pattern: regex at 0"}, Row{" a", "whitespace_pattern: matches no white space of JSON"},
        Row{"[ab]+", "matches no white space"}}) {
    auto refused = compiler.compile(spaced(row.pattern));
    ASSERT_FALSE(refused.ok()) << row.pattern;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidSchema) << row.pattern;
    EXPECT_THAT(refused.error().message, HasSubstr(row.message)) << row.pattern;
    EXPECT_EQ(refused.error().param, "structured_outputs.json");
  }
}

}  // namespace
}  // namespace millrace::grammar
