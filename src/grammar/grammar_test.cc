// Front ends and their refusals, the compiler's cache and limits, drafts, and constraints behind reasoning.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "grammar/compiler.h"
#include "grammar/ebnf.h"
#include "grammar/forced_text.h"
#include "grammar/numbers.h"
#include "grammar/regex.h"
#include "grammar/regex_match.h"
#include "grammar/schema_keywords.h"

namespace millrace::grammar {
namespace {

using flow::ConstraintKind;
using flow::ConstraintSpec;

constexpr TokenId kEnd = 0;

// All bytes, the end, one special token and some longer pieces.
Vocabulary letters(std::vector<std::string> pieces = {}) {
  Vocabulary out;
  out.tokens = {"", "</think>"};
  out.specials = {1};
  out.end_tokens = {kEnd};
  for (int byte = 0; byte < 128; ++byte) out.tokens.emplace_back(1, static_cast<char>(byte));
  for (std::string& piece : pieces) out.tokens.push_back(std::move(piece));
  return out;
}

TokenId byte_token(char c) { return static_cast<TokenId>(2 + c); }

std::string refusal(ConstraintKind kind, const std::string& text, ErrorCode code) {
  auto read = read_constraint({.kind = kind, .text = text}, Limits());
  if (read.ok()) return "accepted";
  EXPECT_EQ(read.error().code, code) << text;
  return read.error().message;
}

// Whether the whole text is what the constraint allows.
bool allows(flow::TokenMatcher& matcher, std::string_view text) {
  uint32_t n = 0;
  bool good = true;
  for (char c : text) {
    good = matcher.accept(byte_token(c));
    if (!good) break;
    ++n;
  }
  bool whole = good && matcher.accept(kEnd);
  matcher.rollback(n + (whole ? 1 : 0));
  return whole;
}

bool allows(const ConstraintSpec& spec, std::string_view text) {
  Compiler compiler(letters(), Limits(), 1);
  auto compiled = compiler.compile(spec);
  EXPECT_TRUE(compiled.ok()) << spec.text << ": " << (compiled.ok() ? "" : compiled.error().message);
  if (!compiled.ok()) return false;
  auto matcher = (*compiled)->matcher();
  return allows(*matcher, text);
}

TEST(Compiler, TimesOfCompilingAndOfMasksAreKept) {
  Compiler compiler(letters(), Limits(), 1);
  auto n_taken = [](Durations& durations) {
    uint64_t n = 0;
    for (uint64_t count : durations.take().counts) n += count;
    return n;
  };
  ConstraintSpec spec{.kind = ConstraintKind::kRegex, .text = "ab"};
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(compiler.compile(spec).ok());
  EXPECT_FALSE(compiler.compile({.kind = ConstraintKind::kRegex, .text = "("}).ok());
  EXPECT_EQ(n_taken(compiler.compile_times()), 2u);
  EXPECT_EQ(n_taken(compiler.mask_times()), 0u);
  auto constraint = compiler.compile(spec).value();
  std::vector<uint32_t> mask(constraint->n_mask_words());
  for (int i = 0; i < 3; ++i) constraint->matcher()->fill(mask);
  EXPECT_EQ(n_taken(compiler.mask_times()), 3u);
}

TEST(Regex, RefusalsNameTheirPlace) {
  struct Row {
    const char* pattern;
    const char* message;
  };
  for (const Row& row :
       {Row{"*a", "regex at 0: nothing to repeat"}, Row{"ab(", "regex at 2: a group without )"},
        Row{"a)", "regex at 1: unmatched )"}, Row{"[z-a]", "regex at 1: a range whose end lies before its start"},
        Row{"\\", "regex at 0: a backslash at the end"}, Row{"a{2", "regex at 1: a repetition without }"},
        Row{"(?=x)", "regex at 0: look-around is not supported"},
        Row{"(a)\\1", "regex at 3: back-references are not supported"},
        Row{"\\p{L}", "regex at 0: \\p{...} is not supported"}, Row{"a**", "regex at 2: nothing to repeat"},
        Row{"a{3,2}", "regex at 1: the minimum of a repetition is above its maximum"},
        Row{"(?i)a", "regex at 0: flags and conditions are not supported"},
        Row{"a^b", "regex at 1: an anchor in the middle of a pattern is not supported"},
        // dialects differ about these
        Row{"a{,2}", "regex at 1: a repetition without a minimum"},
        Row{"[^]a]", "regex at 2: \"]\" at the start of a class: write \\]"},
        Row{"\\012", "regex at 0: octal escapes are not supported"}, Row{"", "must not be empty"}}) {
    EXPECT_EQ(refusal(ConstraintKind::kRegex, row.pattern, ErrorCode::kInvalidRegex), row.message) << row.pattern;
  }
  std::string deep = std::string(100, '(') + std::string(100, ')');
  EXPECT_EQ(refusal(ConstraintKind::kRegex, deep, ErrorCode::kInvalidRegex), "regex at 65: nesting deeper than 64");
  EXPECT_EQ(refusal(ConstraintKind::kRegex, "((a{0,2000}b){0,2000}c){0,2000}", ErrorCode::kInvalidRegex).substr(0, 21),
            "repetition expands to");
}

// Against the definition of each construct in ECMA-262, 22.2.1.
TEST(Regex, MatchesItsTexts) {
  struct Row {
    const char* pattern;
    std::vector<std::string> yes;
    std::vector<std::string> no;
  };
  for (const Row& row : {Row{"a|bc", {"a", "bc"}, {"ab", "", "abc"}}, Row{"(a+)+b", {"ab", "aaab"}, {"b", "aa"}},
                         Row{"[^a-y]{2}", {"zz", "z!"}, {"z", "az", "zzz"}}, Row{"\\d\\D", {"1a"}, {"11", "a1"}},
                         Row{"x{2,3}?", {"xx", "xxx"}, {"x", "xxxx"}}, Row{"^ab$", {"ab"}, {"abc", "a"}},
                         Row{"\\x41\\u0042.", {"ABC"}, {"AB", "AB\n"}}, Row{"a{2}b{0}", {"aa"}, {"aab", "a"}},
                         Row{"[\\]\\-]+", {"]-"}, {"a", ""}}, Row{"(?:a|)b", {"ab", "b"}, {"a"}},
                         Row{"(a*)*b", {"b", "aab"}, {"a"}}, Row{"(a+){2,3}b", {"aab", "aaaaab"}, {"ab", "b"}},
                         Row{"(a+)?b", {"b", "aab"}, {"a"}}, Row{"(a?){2}b", {"b", "ab", "aab"}, {"aaab"}},
                         Row{"(a?)+b", {"b", "aaab"}, {"a"}}, Row{"(a*){0}b", {"b"}, {"ab"}}}) {
    for (const std::string& text : row.yes)
      EXPECT_TRUE(allows({.kind = ConstraintKind::kRegex, .text = row.pattern}, text)) << row.pattern << " " << text;
    for (const std::string& text : row.no)
      EXPECT_FALSE(allows({.kind = ConstraintKind::kRegex, .text = row.pattern}, text)) << row.pattern << " " << text;
  }
}

TEST(Regex, PatternsSearchUnlessAnchored) {
  EXPECT_TRUE(*matches_pattern("b", "abc"));
  EXPECT_FALSE(*matches_pattern("^b", "abc"));
  EXPECT_TRUE(*matches_pattern("^a|x$", "abc"));
  EXPECT_FALSE(*matches_pattern("^(ab)*$", "aba"));
  EXPECT_TRUE(*matches_pattern("^(a|b){3}$", "aba"));
  EXPECT_TRUE(*matches_pattern("^.{2}$", "\xC3\xBC\xE2\x82\xAC"));
}

TEST(Ebnf, RefusalsNameTheirLine) {
  struct Row {
    const char* text;
    const char* message;
  };
  for (const Row& row :
       {Row{"root ::= a\nb ::= \"x\"\na ::= c", "grammar line 3: rule \"c\" is not defined"},
        Row{"x ::= \"a\"", "grammar line 1: there is no rule \"root\""},
        Row{"", "grammar line 1: there is no rule \"root\""},
        Row{"root ::= \"a\"\nroot ::= \"b\"", "grammar line 2: rule \"root\" is defined twice"},
        Row{"root ::= \"a", "grammar line 1: a text without its closing quote"},
        Row{"root ::= (\"a\"", "grammar line 1: a ( without )"}, Row{"root ::= *", "grammar line 1: nothing to repeat"},
        Row{"root ::= <[12]>", "grammar line 1: token literals are not supported"},
        Row{"root ::= Regex(\"a\")", "grammar line 1: macro Regex is not supported"},
        Row{"root ::= [b-a]", "grammar line 1: a range whose end lies before its start"},
        Row{"root ::= root \"a\"", "no text matches"}}) {
    EXPECT_EQ(refusal(ConstraintKind::kGrammar, row.text, ErrorCode::kInvalidGrammar), row.message) << row.text;
  }
  std::string deep = "root ::= " + std::string(60'000, '(');
  EXPECT_EQ(refusal(ConstraintKind::kGrammar, deep, ErrorCode::kInvalidGrammar), "grammar nesting deeper than 256");
}

TEST(Ebnf, ReadsBothDialects) {
  ConstraintSpec spec{.kind = ConstraintKind::kGrammar};
  spec.text = "root ::= item+ # items\nitem ::= \"- \" [^\\n]{1,3} \"\\n\"";
  EXPECT_TRUE(allows(spec, "- a\n- bcd\n"));
  EXPECT_FALSE(allows(spec, "- abcd\n"));
  spec.text = "root ::= 'x' . (\n  \"a\" |\n  \"b\"\n)? list\nlist ::= list \",\" \"1\" | \"1\"";  // left recursion
  EXPECT_TRUE(allows(spec, "x?b1,1,1"));
  EXPECT_FALSE(allows(spec, "x1,"));
}

TEST(Numbers, RangesAreExact) {
  struct Row {
    int64_t low;
    int64_t high;
  };
  for (const Row& row :
       {Row{0, 0}, Row{-3, 7}, Row{95, 1104}, Row{-1234, -7}, Row{10, 99}, Row{-1, 1}, Row{199, 201}}) {
    Rules rules;
    NumberRules numbers(rules);
    ExprId expr = numbers.whole_range(row.low, row.high);
    for (int64_t n = -1300; n <= 1300; ++n) {
      EXPECT_EQ(matches(rules, expr, std::to_string(n)), n >= row.low && n <= row.high) << n;
    }
    EXPECT_FALSE(matches(rules, expr, "-0"));
    EXPECT_FALSE(matches(rules, expr, "007"));
  }
  for (const Row& row : {Row{-15, 23}, Row{-20, -20}, Row{7, 30}, Row{0, 0}, Row{11, 18}, Row{-49, 50}}) {
    Rules rules;
    NumberRules numbers(rules);
    ExprId tenths = numbers.decimal_range(row.low, row.high, 1);
    ExprId either = numbers.number_range(row.low, row.high, 1);
    for (int64_t n = -60; n <= 60; ++n) {
      std::string whole = std::string(n < 0 ? "-" : "") + std::to_string(std::abs(n) / 10);
      std::string text = whole + "." + std::to_string(std::abs(n) % 10);
      bool inside = n >= row.low && n <= row.high;
      EXPECT_EQ(matches(rules, tenths, text), inside) << text;
      EXPECT_EQ(matches(rules, either, text), inside) << text;
      if (n % 10 != 0) continue;
      EXPECT_FALSE(matches(rules, tenths, whole)) << whole;
      EXPECT_EQ(matches(rules, either, whole), inside) << whole;
    }
    EXPECT_FALSE(matches(rules, either, "-0"));
  }
}

// They are written by several rules.
TEST(Schema, ManyRequiredMembersInTheirOrder) {
  constexpr int kMembers = 150;
  std::string properties;
  std::string required;
  std::string text;
  for (int i = 0; i < kMembers; ++i) {
    std::string name = "\"p" + std::to_string(i) + "\"";
    properties +=
        (i == 0 ? "" : ",") + name + R"(:{"type":"integer","minimum":1,"maximum":)" + std::to_string(i + 2) + "}";
    required += (i == 0 ? "" : ",") + name;
    text += (i == 0 ? "{" : ",") + name + ":" + std::to_string(i + 2);
  }
  ConstraintSpec spec{.kind = ConstraintKind::kJsonSchema};
  spec.text = R"({"type":"object","properties":{)" + properties + R"(},"required":[)" + required + "]}";
  EXPECT_TRUE(allows(spec, text + "}"));
  for (const char* member : {",\"p1\":3", ",\"p63\":65", ",\"p64\":66", ",\"p65\":67", ",\"p149\":151"}) {
    std::string without = text;
    size_t found = without.find(member);
    ASSERT_NE(found, std::string::npos) << member;
    without.erase(found, std::string(member).size());
    EXPECT_FALSE(allows(spec, without + "}")) << member;
    std::string beyond = text;
    beyond.replace(found, std::string(member).size(), std::string(member) + "0");
    EXPECT_FALSE(allows(spec, beyond + "}")) << member;
  }
}

TEST(Schema, RefusalsNameTheirPointer) {
  struct Row {
    const char* schema;
    const char* message;
  };
  for (const Row& row :
       {Row{R"({"properties":{"a":{"type":"foo"}}})",
            "#/properties/a/type: must be null, boolean, integer, number, string, array, object, or a list of them"},
        Row{R"({"properties":{"a":{"disallow":{}}}})", "#/properties/a/disallow: \"disallow\" is not supported"},
        Row{R"({"items":{"if":{"pattern":"a"},"else":{}}})",
            "#/items/if/pattern: \"pattern\" under \"not\", \"if\" or \"oneOf\" is not supported"},
        Row{R"({"$ref":"http://x/y"})", "#/$ref: remote $ref \"http://x/y\" not allowed"},
        Row{R"({"$ref":"#/$defs/x"})", "#/$ref: $ref \"#/$defs/x\" not found"},
        Row{R"({"type":"string","pattern":"^+[a-z]$"})", "#/pattern: regex at 1: nothing to repeat"},
        Row{R"({"oneOf":[{"type":"string"},{"pattern":"a"}]})",
            "#/oneOf/1/pattern: \"pattern\" under \"not\", \"if\" or \"oneOf\" is not supported"},
        Row{R"({"enum":[]})", "#/enum: must be a non-empty array"},
        Row{R"({"type":[]})",
            "#/type: must be null, boolean, integer, number, string, array, object, or a list of them"},
        Row{R"({"multipleOf":0})", "#/multipleOf: must be a number above 0"},
        Row{R"({"minItems":9223372036854775808})", "#/minItems: must be a whole number in 0..9e15"},
        Row{R"({"type":"array","uniqueItems":true,"minItems":2})",
            "#: uniqueItems is supported for items of a list of values"},
        Row{R"({"minimum":3,"maximum":2,"type":"integer"})", "no text matches"}, Row{"false", "no text matches"},
        Row{R"({"type":"string","minLength":4,"maxLength":3})", "no text matches"},
        Row{R"({"allOf":[{"type":"string"},{"type":"null"}]})", "no text matches"},
        Row{"[1]", "#: must be an object or a boolean"},
        // what is left out is named where nothing else is left
        Row{R"({"oneOf":[{"type":"integer","multipleOf":3},{"type":"integer","multipleOf":5}]})",
            "#/oneOf/1/multipleOf: \"multipleOf\" under \"not\", \"if\" or \"oneOf\" is not supported"},
        Row{R"({"type":"integer","minimum":1e20})", "#: only numbers beyond 999999999999999 is not supported"},
        Row{R"({"format":"uuid","maxLength":9,"type":"string"})",
            "#/format: this format beside minLength or maxLength is not supported"},
        Row{R"({"format":"uuid","pattern":"^0","type":"string"})", "#/format: beside \"pattern\" is not supported"},
        Row{R"({"allOf":[{"format":"date"},{"format":"email"}]})",
            "#/allOf/0/format: several formats at once are not supported"},
        Row{R"({"format":"ipv4","not":{"const":"1.1.1.1"},"type":"string"})",
            "#: \"not\" of a text that the pattern or format allows is not supported"},
        Row{R"({"$ref":"#"})", "#: a schema that is defined by itself, for the same value"},
        Row{R"({"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"},{"type":"null"}]},)"
            R"("b":{"allOf":[{"$ref":"#/$defs/a"}]}}})",
            "#/$defs/a: a schema that is defined by itself, for the same value"},
        Row{R"({"not":{"format":"date"}})",
            "#/not/format: \"format\" under \"not\", \"if\" or \"oneOf\" is not supported"}}) {
    EXPECT_EQ(refusal(ConstraintKind::kJsonSchema, row.schema, ErrorCode::kInvalidSchema), row.message) << row.schema;
  }
}

// Every row of the table is either read or refused by its own name: none is passed over.
TEST(Schema, NoConstrainingKeywordIsIgnored) {
  for (const Keyword& keyword : schema_keywords()) {
    if (keyword.use != KeywordUse::kUnsupported) continue;
    std::string name(keyword.name);
    EXPECT_EQ(refusal(ConstraintKind::kJsonSchema, fmt::format(R"({{"{}":{{}}}})", name), ErrorCode::kInvalidSchema),
              fmt::format(R"(#/{}: "{}" is not supported)", name, name));
  }
}

TEST(Compiler, KeepsWhatItCompiledAndWhatItRefused) {
  Compiler compiler(letters(), Limits(), 1);
  ConstraintSpec good{.kind = ConstraintKind::kRegex, .text = "ab+"};
  ConstraintSpec bad{.kind = ConstraintKind::kRegex, .text = "*"};
  auto first = compiler.compile(good);
  auto second = compiler.compile(good);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->get(), second->get());
  EXPECT_FALSE(compiler.compile(bad).ok());
  EXPECT_FALSE(compiler.compile(bad).ok());
  Compiler::Counts counts = compiler.counts();
  EXPECT_EQ(counts.n_compiled, 1u);
  EXPECT_EQ(counts.n_refused, 1u);
  EXPECT_EQ(counts.n_found, 2u);
}

TEST(Compiler, PostsToItsOwnThread) {
  Compiler compiler(letters(), Limits(), 1);
  std::mutex mutex;
  std::condition_variable ready;
  bool done = false;
  ASSERT_TRUE(compiler
                  .post({.kind = ConstraintKind::kChoice, .text = R"(["a","b"])"},
                        [&](const Result<CompiledConstraint>& result) {
                          EXPECT_TRUE(result.ok());
                          std::lock_guard lock(mutex);
                          done = true;
                          ready.notify_one();
                        })
                  .ok());
  std::unique_lock lock(mutex);
  EXPECT_TRUE(ready.wait_for(lock, std::chrono::minutes(2), [&] { return done; }));
}

TEST(Compiler, CacheStaysBounded) {
  Compiler compiler(letters(), Limits(), 1);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(compiler.compile({.kind = ConstraintKind::kChoice, .text = "[\"" + std::to_string(i) + "\"]"}).ok());
  }
  EXPECT_LE(compiler.counts().n_cached, 4096u);
  EXPECT_LE(compiler.counts().cached_bytes, size_t{64} << 20);
}

// As the longest pieces write it, wherever a sampled token ends; what follows a choice is not known.
TEST(Matcher, DraftIsTheTextThatMustComeNext) {
  Compiler compiler(letters({"hel", "lo ", "wor"}), Limits(), 1);
  auto compiled = compiler.compile({.kind = ConstraintKind::kRegex, .text = "hello world[ab]"});
  ASSERT_TRUE(compiled.ok());
  auto matcher = (*compiled)->matcher();
  auto draft = [&](size_t most) {
    std::vector<TokenId> out(most);
    out.resize(matcher->draft(out));
    return out;
  };
  TokenId hel = byte_token(127) + 1;
  std::vector<TokenId> whole = {hel, hel + 1, hel + 2, byte_token('l'), byte_token('d')};
  EXPECT_EQ(draft(9), whole);
  EXPECT_EQ(draft(2), std::vector<TokenId>(whole.begin(), whole.begin() + 2));
  ASSERT_TRUE(matcher->accept(byte_token('h')));
  EXPECT_EQ(draft(2), (std::vector<TokenId>{byte_token('e'), byte_token('l')}));
  matcher->rollback(1);
  // as this answer began it before
  EXPECT_EQ(draft(9), (std::vector<TokenId>{byte_token('h'), byte_token('e'), byte_token('l'), hel + 1, hel + 2,
                                            byte_token('l'), byte_token('d')}));
  for (char c : std::string("hello worl")) ASSERT_TRUE(matcher->accept(byte_token(c)));
  EXPECT_EQ(draft(9), std::vector<TokenId>());  // one byte is not worth a row
  for (char c : std::string("db")) ASSERT_TRUE(matcher->accept(byte_token(c)));
  EXPECT_EQ(draft(9), std::vector<TokenId>());
  ASSERT_TRUE(matcher->accept(kEnd));
  EXPECT_EQ(draft(9), std::vector<TokenId>());
}

// The core follows fixed text to its end, so none that could be long is asked for.
TEST(Matcher, LongFixedTextIsNotFollowed) {
  std::string doubling = "root ::= r0 [ab]\n";
  for (int i = 0; i < 40; ++i) doubling += fmt::format("r{} ::= r{} r{}\n", i, i + 1, i + 1);
  doubling += "r40 ::= \"xy\"\n";
  struct Row {
    std::string text;
    bool short_enough;
  };
  for (const Row& row :
       {Row{doubling, false}, Row{"root ::= \"" + std::string(40'000, 'x') + "\" [ab]", false},
        Row{"root ::= (\"xy\"){30000} [ab]", false},
        Row{"root ::= \"xy\" e\ne ::= \"(\" e \"" + std::string(99, 'x') + "\" | [ab]", false},
        Row{"root ::= \"xy\" e\ne ::= \"(\" e \")\" | [ab]", true}, Row{"root ::= \"xy\" (\"xy\" [ab])*", true}}) {
    auto rules = read_constraint({.kind = ConstraintKind::kGrammar, .text = row.text}, Limits());
    ASSERT_TRUE(rules.ok()) << rules.error().message;
    EXPECT_EQ(forced_text_is_short(*rules), row.short_enough) << row.text.substr(0, 100);
  }
  auto schema = read_constraint({.kind = ConstraintKind::kJsonSchema,
                                 .text = R"({"type":"object","properties":{"name":{},"list":{"type":"array",)"
                                         R"("minItems":50,"items":{"type":"string"}}},"required":["name","list"]})"},
                                Limits());
  ASSERT_TRUE(schema.ok());
  EXPECT_TRUE(forced_text_is_short(*schema));
}

// Sums of sums have ever more ways to be read.
TEST(Matcher, ATokenThatCostsTooMuchSaysSo) {
  Compiler compiler(letters(), Limits(), 1);
  auto compiled = compiler.compile({.kind = ConstraintKind::kGrammar, .text = "root ::= s\ns ::= \"a\" | s s"});
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  auto matcher = (*compiled)->matcher();
  std::vector<uint32_t> mask((*compiled)->n_mask_words());
  auto is_allowed = [&](TokenId token) {
    matcher->fill(mask);
    auto at = static_cast<size_t>(token);
    return (mask[at / 32] >> at % 32 & 1) != 0;
  };
  int n = 0;
  while (n < 1000 && is_allowed(byte_token('a')) && matcher->accept(byte_token('a'))) ++n;
  EXPECT_GT(n, 20);
  EXPECT_THAT(matcher->failure(), testing::HasSubstr("more work for one token than 100520 steps")) << n;
  EXPECT_FALSE(is_allowed(byte_token('a')));
  EXPECT_FALSE(matcher->accept(byte_token('a')));
  auto other = (*compiled)->matcher();  // nothing of it is shared
  EXPECT_TRUE(other->accept(byte_token('a')));
  EXPECT_EQ(other->failure(), "");
}

TEST(Matcher, RepetitionsOfRepetitionsAreOne) {
  Compiler compiler(letters({"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}), Limits(), 1);
  for (const char* pattern : {"a([/a-z .-]*)*/?", "(([a-z]+)+)*", "(([a-z]?)*)+"}) {
    auto compiled = compiler.compile({.kind = ConstraintKind::kRegex, .text = pattern});
    ASSERT_TRUE(compiled.ok()) << pattern;
    auto matcher = (*compiled)->matcher();
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(matcher->accept(130)) << pattern << " " << i << " " << matcher->failure();
  }
}

// Free text, without an end, up to the mark; what a token has behind it is constrained.
TEST(Matcher, ConstraintBeginsBehindTheReasoning) {
  Compiler compiler(letters({"k>12", "k>x"}), Limits(), 1);
  auto compiled = compiler.compile({.kind = ConstraintKind::kRegex, .text = "[0-9]+", .after = "</think>"});
  ASSERT_TRUE(compiled.ok());
  auto matcher = (*compiled)->matcher();
  EXPECT_FALSE(matcher->accept(kEnd));
  for (char c : std::string("so 7 </thi")) ASSERT_TRUE(matcher->accept(byte_token(c)));
  auto whole = static_cast<TokenId>(letters().tokens.size());
  std::vector<uint32_t> mask((letters({"", ""}).tokens.size() + 31) / 32);
  ASSERT_TRUE(matcher->accept(byte_token('n')));
  matcher->fill(mask);
  auto allowed = [&](TokenId token) { return (mask[static_cast<size_t>(token) / 32] >> (token % 32) & 1) != 0; };
  EXPECT_TRUE(allowed(whole));
  EXPECT_FALSE(allowed(whole + 1));
  EXPECT_FALSE(allowed(kEnd));
  ASSERT_TRUE(matcher->accept(whole));
  EXPECT_FALSE(matcher->accept(byte_token('x')));
  EXPECT_TRUE(matcher->accept(kEnd));
  EXPECT_TRUE(matcher->ended());
  matcher->rollback(2);
  EXPECT_FALSE(matcher->accept(kEnd));
  EXPECT_TRUE(matcher->accept(byte_token('x')));
}

}  // namespace
}  // namespace millrace::grammar
