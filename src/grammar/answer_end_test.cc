// The nearest end of an answer: how many tokens it takes, what is allowed when none is to spare, and what a limit does
// that is too small.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/macros.h"
#include "base/philox.h"
#include "flow/timed_matcher.h"
#include "grammar/compiler.h"

namespace millrace::grammar {
namespace {

using flow::ConstraintKind;
using flow::ConstraintSpec;

constexpr TokenId kEnd = 0;

// The end, all bytes but those of `missing`, and some longer pieces.
Vocabulary letters(std::vector<std::string> pieces = {}, std::string_view missing = "") {
  Vocabulary out;
  out.tokens = {""};
  out.end_tokens = {kEnd};
  for (int byte = 0; byte < 256; ++byte) {
    bool known = missing.find(static_cast<char>(byte)) == std::string_view::npos;
    out.tokens.push_back(known ? std::string(1, static_cast<char>(byte)) : std::string());
  }
  for (std::string& piece : pieces) out.tokens.push_back(std::move(piece));
  return out;
}

CompiledConstraint compile(const ConstraintSpec& spec, Vocabulary vocabulary) {
  Compiler compiler(std::move(vocabulary), Limits(), 1);
  auto compiled = compiler.compile(spec);
  CHECK(compiled.ok(), "{}: {}", spec.text, compiled.error().message);
  return *compiled;
}

bool accept(flow::TokenMatcher& matcher, std::string_view text) {
  for (char c : text) {
    if (!matcher.accept(1 + static_cast<TokenId>(static_cast<unsigned char>(c)))) return false;
  }
  return true;
}

// Behind a text: the fewest tokens to the end, the end token among them.
uint32_t fewest(const flow::Constraint& constraint, std::string_view text = "") {
  auto matcher = constraint.matcher();
  CHECK(accept(*matcher, text), "{} is not a beginning", text);
  uint32_t n = 0;
  while (n < 10'000 && !matcher->ends_within(n)) ++n;
  CHECK(matcher->ends_within(n + 1), "what ends within {} tokens ends within one more", n);
  return n;
}

struct Row {
  ConstraintKind kind;
  const char* text;
  const char* before;
  const char* end;  // one that is as short as any
};

TEST(AnswerEnd, TheFewestTokensAreThoseOfTheShortestText) {
  constexpr ConstraintKind kRegex = ConstraintKind::kRegex;
  constexpr ConstraintKind kSchema = ConstraintKind::kJsonSchema;
  constexpr ConstraintKind kGrammar = ConstraintKind::kGrammar;
  for (const Row& row : std::vector<Row>{
           {kRegex, "[a-z]{3,8}", "", "abc"},
           {kRegex, "[a-z]{3,8}", "abcd", ""},
           {kRegex, "(abc){20,90}x", "", "abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcx"},
           {kRegex, "(abc){20,90}x", "abcabca", "bcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcx"},
           {kRegex, "x\xC3\xBC+|abcdefgh", "", "x\xC3\xBC"},
           {kRegex, "x\xC3\xBC+|abcdefgh", "abc", "defgh"},
           {ConstraintKind::kChoice, R"(["positive","no","negative"])", "", "no"},
           {ConstraintKind::kChoice, R"(["positive","no","negative"])", "ne", "gative"},
           {ConstraintKind::kJsonObject, "", "", "{}"},
           {ConstraintKind::kJsonObject, "", R"({"a":[[{"b)", R"(":0}]]})"},
           {kSchema, "{}", "", "0"},
           {kSchema, R"({"type":"object","properties":{"ab":{"type":"integer"}},"required":["ab"]})", "",
            R"({"ab":0})"},
           {kSchema, R"({"type":"string","minLength":5})", "", R"("abcde")"},
           {kSchema, R"({"type":"string","minLength":5})", R"("ab)", R"(cde")"},
           {kSchema, R"({"type":"string","minLength":500})", R"("ab\)", nullptr},
           {kSchema, R"({"type":"array","items":{"type":"string","minLength":30,"maxLength":900},"minItems":2})", "[",
            R"("abcdefghijklmnopqrstuvwxyzabcd","abcdefghijklmnopqrstuvwxyzabcd"])"},
           {kSchema, R"({"anyOf":[{"type":"string","minLength":40},{"type":"array","minItems":3}]})", "", "[0,0,0]"},
           {kSchema,
            R"({"$defs":{"t":{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/t"},)"
            R"({"type":"null"}]}},"required":["next"]}},"$ref":"#/$defs/t"})",
            R"({"next":{"next":{"next":)", "null}}}"},
           {kGrammar, "root ::= e\ne ::= e \"+\" t | t\nt ::= [0-9] | \"(\" e \")\"", "((1+(2", ")))"},
           {kGrammar, "root ::= \"a\" root \"bb\" | \"c\"", "aaa", "cbbbbbb"},
           {ConstraintKind::kTags,
            R"({"structures":[{"begin":"<f>","schema":{"type":"integer"},"end":"</f>"}],"triggers":["<f"]})", "so <f>1",
            "</f>"},
           {ConstraintKind::kTags,
            R"({"structures":[{"begin":"<f>","schema":{"type":"integer"},"end":"</f>"}],"triggers":["<f"]})", "so <",
            ""}}) {
    CompiledConstraint constraint = compile({.kind = row.kind, .text = row.text}, letters());
    uint32_t want = row.end == nullptr ? 500 : static_cast<uint32_t>(std::string_view(row.end).size() + 1);
    EXPECT_EQ(fewest(*constraint, row.before), want) << row.text << " behind " << row.before;
    if (row.end == nullptr) continue;
    auto matcher = constraint->matcher();
    EXPECT_TRUE(accept(*matcher, row.before) && accept(*matcher, row.end) && matcher->accept(kEnd)) << row.text;
  }
}

TEST(AnswerEnd, LongTokensCount) {
  ConstraintSpec spec{.kind = ConstraintKind::kRegex, .text = "abcdefgh[0-9]+;"};
  EXPECT_EQ(fewest(*compile(spec, letters())), 11u);
  EXPECT_EQ(fewest(*compile(spec, letters({"abc", "bcdefgh", "def"}))), 5u);  // a bcdefgh 0 ; and the end
}

// A text is never ended by bytes that no token says alone.
TEST(AnswerEnd, BytesWithoutATokenAreAvoided) {
  ConstraintSpec spec{.kind = ConstraintKind::kRegex, .text = "[a-c]+(!|done)"};
  EXPECT_EQ(fewest(*compile(spec, letters())), 3u);
  EXPECT_EQ(fewest(*compile(spec, letters({}, "!a"))), 6u);
}

TEST(AnswerEnd, WithoutATokenToSpareTheMaskIsTheNearestEnd) {
  CompiledConstraint constraint =
      compile({.kind = ConstraintKind::kJsonSchema,
               .text = R"({"type":"object","properties":{"ab":{"type":"string"}},"required":["ab"]})"},
              letters({"{\"", "\"}", "x\"}"}));
  std::vector<uint32_t> mask(constraint->n_mask_words());
  auto n_allowed = [&] {
    size_t n = 0;
    for (uint32_t word : mask) n += static_cast<size_t>(__builtin_popcount(word));
    return n;
  };
  uint32_t least = fewest(*constraint);
  EXPECT_EQ(least, 8u);  // {" a b " : " "} and the end
  flow::TimedMatcher matcher(constraint->matcher(), least);
  for (uint32_t i = 0; i < least; ++i) {
    matcher.fill(mask);
    ASSERT_EQ(n_allowed(), 1u) << i;
    TokenId only = 0;
    while ((mask[static_cast<size_t>(only) / 32] >> (only % 32) & 1) == 0) ++only;
    ASSERT_TRUE(matcher.accept(only));
    ASSERT_TRUE(matcher.in_time(mask));
  }
  EXPECT_TRUE(matcher.matcher().ended());
  EXPECT_TRUE(matcher.hurried());
}

// A token that fits the constraint and not the limit is taken back; what is left leads to the end.
TEST(AnswerEnd, ATokenThatLeavesTooLittleIsTakenBack) {
  CompiledConstraint constraint =
      compile({.kind = ConstraintKind::kGrammar, .text = "root ::= \"a\" root \"bb\" | \"c\""}, letters({"aaaa"}));
  auto aaaa = static_cast<TokenId>(letters().tokens.size());
  std::vector<uint32_t> mask(constraint->n_mask_words());
  auto allowed = [&](TokenId token) { return (mask[static_cast<size_t>(token) / 32] >> (token % 32) & 1) != 0; };
  flow::TimedMatcher matcher(constraint->matcher(), 7);
  matcher.fill(mask);
  EXPECT_TRUE(allowed(aaaa));
  ASSERT_TRUE(matcher.accept(aaaa));
  EXPECT_FALSE(matcher.in_time(mask));  // c, 8 times b, the end
  EXPECT_FALSE(allowed(aaaa));
  EXPECT_TRUE(allowed(1 + 'c'));
  flow::TimedMatcher wider(constraint->matcher(), 11);
  wider.fill(mask);
  ASSERT_TRUE(wider.accept(aaaa));
  EXPECT_TRUE(wider.in_time(mask));
  EXPECT_FALSE(wider.hurried());
}

TEST(AnswerEnd, ALimitThatIsTooSmallChangesNothing) {
  CompiledConstraint constraint = compile({.kind = ConstraintKind::kRegex, .text = "[a-z]{3,8}[0-9]{3}"}, letters());
  uint32_t least = fewest(*constraint);
  EXPECT_EQ(least, 7u);
  std::vector<uint32_t> mask(constraint->n_mask_words());
  std::vector<uint32_t> free(constraint->n_mask_words());
  flow::TimedMatcher matcher(constraint->matcher(), least - 1);
  flow::TimedMatcher unlimited(constraint->matcher(), flow::TimedMatcher::kNoLimit);
  for (char c : std::string("abcd")) {
    matcher.fill(mask);
    unlimited.fill(free);
    EXPECT_EQ(mask, free);
    ASSERT_TRUE(matcher.accept(1 + static_cast<TokenId>(c)));
    EXPECT_TRUE(matcher.in_time(mask));
    ASSERT_TRUE(unlimited.accept(1 + static_cast<TokenId>(c)));
  }
  EXPECT_FALSE(matcher.hurried());
}

// What waits for an end lies in thousands of rows of the parser.
TEST(AnswerEnd, DeepTextsEnd) {
  CompiledConstraint constraint = compile({.kind = ConstraintKind::kJsonObject}, letters());
  std::string text = R"({"a":)";
  for (int i = 0; i < 1500; ++i) text += '[';
  EXPECT_EQ(fewest(*constraint, text), 1502u);
}

// Asks its matcher, and counts what it is asked about ends.
class CountingMatcher final : public flow::TokenMatcher {
 public:
  // tells: how far an end is at most.
  CountingMatcher(std::unique_ptr<flow::TokenMatcher> inner, int& n_asked, bool tells = false)
      : inner_(std::move(inner)), n_asked_(n_asked), tells_(tells) {}
  bool accept(TokenId token) override { return inner_->accept(token); }
  void rollback(uint32_t n) override { inner_->rollback(n); }
  void fill(std::span<uint32_t> mask) override { inner_->fill(mask); }
  bool ends_within(uint32_t n_tokens) override {
    ++n_asked_;
    return inner_->ends_within(n_tokens);
  }
  uint32_t farthest_end() const override { return tells_ ? inner_->farthest_end() : UINT32_MAX; }
  void keep_ending(std::span<uint32_t> mask, uint32_t n_tokens) override { inner_->keep_ending(mask, n_tokens); }
  bool ended() const override { return inner_->ended(); }

 private:
  std::unique_ptr<flow::TokenMatcher> inner_;
  int& n_asked_;
  bool tells_;
};

TEST(AnswerEnd, AnEndThatIsTooFarIsAskedForOnce) {
  CompiledConstraint constraint = compile({.kind = ConstraintKind::kRegex, .text = "[a-z]{30,80}"}, letters());
  int n_asked = 0;
  flow::TimedMatcher matcher(std::make_unique<CountingMatcher>(constraint->matcher(), n_asked), 20);
  std::vector<uint32_t> mask(constraint->n_mask_words());
  for (int i = 0; i < 10; ++i) {
    matcher.fill(mask);
    ASSERT_TRUE(matcher.accept(1 + 'a'));
    EXPECT_TRUE(matcher.in_time(mask));
  }
  EXPECT_EQ(n_asked, 1);
  EXPECT_FALSE(matcher.has_limit());
}

// Far from the limit nothing is asked, and what is sampled needs no copy of its logits; nothing else changes.
TEST(AnswerEnd, AnEndThatIsNeverFarIsAskedForNearTheLimitAlone) {
  struct Case {
    ConstraintKind kind;
    const char* text;
    uint32_t most;  // tokens before the limit at which ends are asked for
  };
  for (const Case& one :
       {Case{ConstraintKind::kRegex, "[a-z]{20,90}(-[0-9]{4}){2}", 40},
        Case{ConstraintKind::kJsonSchema,
             R"({"type":"object","properties":{"a":{"type":"string","minLength":9},"b":{"type":"string"}},)"
             R"("required":["a","b"]})",
             100}}) {
    constexpr uint32_t kTokens = 300;
    CompiledConstraint constraint = compile({.kind = one.kind, .text = one.text}, letters({"abcd", "{\"", "12"}));
    uint32_t farthest = constraint->matcher()->farthest_end();
    ASSERT_GE(farthest, fewest(*constraint) - 1) << one.text;
    ASSERT_LT(farthest, one.most) << one.text;
    int n_asked = 0;
    int n_asked_always = 0;
    PhiloxSequence random(5);
    flow::TimedMatcher matcher(std::make_unique<CountingMatcher>(constraint->matcher(), n_asked, true), kTokens);
    flow::TimedMatcher always(std::make_unique<CountingMatcher>(constraint->matcher(), n_asked_always), kTokens);
    std::vector<uint32_t> mask(constraint->n_mask_words());
    std::vector<uint32_t> same(mask.size());
    uint32_t n_far = 0;
    for (uint32_t n = 0; n < kTokens && !matcher.matcher().ended(); ++n) {
      bool far = kTokens - n - 1 > farthest;
      n_far += far ? 1 : 0;
      EXPECT_EQ(matcher.may_be_late(), !far);
      EXPECT_TRUE(always.may_be_late());
      matcher.fill(mask);
      always.fill(same);
      ASSERT_EQ(mask, same) << n;
      TokenId token = 0;  // never the end while something else is allowed
      std::vector<TokenId> allowed;
      for (size_t i = 1; i < 257 + 3; ++i) {
        if ((mask[i / 32] >> (i % 32) & 1) != 0) allowed.push_back(static_cast<TokenId>(i));
      }
      if (!allowed.empty()) token = allowed[random.below(static_cast<uint32_t>(allowed.size()))];
      ASSERT_TRUE(matcher.accept(token) && always.accept(token));
      bool in_time = matcher.in_time(mask);
      ASSERT_EQ(always.in_time(same), in_time);
      EXPECT_TRUE(!far || n_asked == 0) << n;
      if (!in_time) break;
    }
    EXPECT_GT(n_far, 20u) << one.text;
    EXPECT_GE(n_asked_always, static_cast<int>(n_far));
  }
  // what must still come grows with every bracket
  EXPECT_EQ(compile({.kind = ConstraintKind::kJsonObject}, letters())->matcher()->farthest_end(), UINT32_MAX);
}

// How many tokens a way may take at most is never said too low: with random pieces of a text among the tokens, what
// may come next behind `fewest` still leads to the end in time.
TEST(AnswerEnd, WithPiecesAmongTheTokensTheFewestLeadToTheEnd) {
  constexpr ConstraintKind kSchema = ConstraintKind::kJsonSchema;
  const std::string person =
      R"({"type":"object","properties":{"name":{"type":"string","minLength":3},"kind":{"enum":["red","green"]},)"
      R"("sizes":{"type":"array","items":{"type":"integer","minimum":10},"minItems":3}},)"
      R"("required":["name","kind","sizes"],"additionalProperties":false})";
  const std::string text = R"({"name": "abc", "kind": "red", "sizes": [10,10,10]}{"name":"abc","kind":"red","sizes":[)";
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::vector<std::string> pieces;
    for (uint32_t i = 0; i < 24; ++i) {
      PhiloxBlock bits = philox4x32(seed, {i, 0, 0, 0});
      pieces.push_back(text.substr(bits[0] % text.size(), 2 + bits[1] % 9));
    }
    CompiledConstraint constraint = compile({.kind = kSchema, .text = person}, letters(pieces));
    for (std::string_view before : {"", R"({"na)", R"({"name": "x)", R"({"name": "xyz", "kind": "gre)"}) {
      uint32_t n_before = static_cast<uint32_t>(before.size());
      uint32_t least = fewest(*constraint, before);
      flow::TimedMatcher matcher(constraint->matcher(), n_before + least);
      for (char c : before) ASSERT_TRUE(matcher.accept(1 + static_cast<TokenId>(static_cast<unsigned char>(c))));
      std::vector<uint32_t> mask(constraint->n_mask_words());
      for (uint32_t i = 0; i < least; ++i) {
        matcher.fill(mask);
        TokenId first = 0;
        while (static_cast<size_t>(first) / 32 < mask.size() &&
               (mask[static_cast<size_t>(first) / 32] >> (first % 32) & 1) == 0)
          ++first;
        ASSERT_TRUE(matcher.accept(first)) << seed << " behind " << before;
      }
      EXPECT_TRUE(matcher.matcher().ended()) << seed << " behind " << before;
    }
  }
}

// A text behind which a constraint begins is a part of the way.
TEST(AnswerEnd, BehindAText) {
  CompiledConstraint constraint =
      compile({.kind = ConstraintKind::kRegex, .text = "[0-9]+", .after = "</think>"}, letters({"k>"}));
  EXPECT_EQ(fewest(*constraint), 9u);  // </thin k> 0 and the end
  EXPECT_EQ(fewest(*constraint, "so </th"), 5u);
  EXPECT_EQ(fewest(*constraint, "so </think>1"), 1u);
}

}  // namespace
}  // namespace millrace::grammar
