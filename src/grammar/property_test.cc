// What is generated satisfies its constraint, under a validator that shares no code with the generator: random walks
// over the corpus of tests/grammar, on a vocabulary of all bytes and of pieces that cross every border of JSON.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/philox.h"
#include "flow/timed_matcher.h"
#include "grammar/compiler.h"
#include "tests/support/schema_validator.h"

namespace millrace::grammar {
namespace {

constexpr TokenId kEnd = 0;
constexpr TokenId kOther = 1;  // a special token, never text
constexpr uint32_t kMaxTokens = 400;

Vocabulary small_vocabulary() {
  Vocabulary out;
  out.tokens = {"<end>", "<special>"};
  out.specials = {kEnd, kOther};
  out.end_tokens = {kEnd};
  for (int byte = 0; byte < 256; ++byte) out.tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* piece :
       {"\"",        "\":",    "\": ",      "\",",  "\", \"", "{\"",     "\"}", "\"]",      "[\"",  "},",
        "\":\"",     "\":\"x", "\", \"abc", "\"a",  "\"ab\"", "\"\"",    "abc", "abcdefgh", "name", "age",
        "\"name\":", "true",   "false",     "null", "12",     "123",     "0.",  "-1",       "\\\"", "\\n",
        "\\",        "\\u00",  "  ",        "\n  ", "x\"",    "xyz\"}",  "red", "foo",      "bar",  "\xC3\xBC",
        "\xE2\x82",  "\xAC",   "<f>",       "<f",   "</f>",   "a\"b\"c", "- ",  "++",       "((",   "))"}) {
    out.tokens.emplace_back(piece);
  }
  return out;
}

struct Case {
  flow::ConstraintSpec spec;
  Json source;
  std::string check;
};

std::vector<Case> corpus() {
  auto text = read_file(MILLRACE_SOURCE_DIR "/tests/grammar/corpus.jsonl", 1 << 20);
  CHECK(text.ok(), "{}", text.error().message);
  std::vector<Case> out;
  for (size_t at = 0; at < text->size();) {
    size_t end = std::min(text->find('\n', at), text->size());
    auto line = parse_json(std::string_view(*text).substr(at, end - at));
    at = end + 1;
    CHECK(line.ok(), "{}", line.error().message);
    const std::string& kind = line->find("kind")->as_string();
    const Json& source = *line->find("text");
    Case one;
    one.source = source;
    one.spec.text = source.is_string() && kind != "schema" ? source.as_string() : source.dump();
    if (const Json* check = line->find("check")) one.check = check->as_string();
    if (kind == "schema") one.spec.kind = flow::ConstraintKind::kJsonSchema;
    if (kind == "object") one.spec.kind = flow::ConstraintKind::kJsonObject;
    if (kind == "regex") one.spec.kind = flow::ConstraintKind::kRegex;
    if (kind == "choice") one.spec.kind = flow::ConstraintKind::kChoice;
    if (kind == "grammar") one.spec.kind = flow::ConstraintKind::kGrammar;
    if (kind == "tags") one.spec.kind = flow::ConstraintKind::kTags;
    out.push_back(std::move(one));
  }
  return out;
}

// Empty, or why the text does not satisfy the constraint.
std::string complaint(const Case& one, const std::string& text) {
  switch (one.spec.kind) {
    case flow::ConstraintKind::kJsonSchema: {
      auto value = parse_json(text);
      // two equal keys are valid JSON and the later one counts; the parser here refuses them
      if (!value.ok()) return value.error().code == ErrorCode::kDuplicateKey ? "" : value.error().message;
      return testing::SchemaValidator(one.source).broken(*value);
    }
    case flow::ConstraintKind::kJsonObject: {
      auto value = parse_json(text);
      if (!value.ok()) return value.error().code == ErrorCode::kDuplicateKey ? "" : value.error().message;
      return value->is_object() ? "" : "no object";
    }
    case flow::ConstraintKind::kRegex:
      return testing::pcre_matches(one.spec.text, text, true) ? "" : "does not match";
    case flow::ConstraintKind::kChoice:
      for (const Json& choice : one.source.as_array()) {
        if (choice.as_string() == text) return "";
      }
      return "none of the choices";
    case flow::ConstraintKind::kTags:  // free text is any bytes
      return testing::pcre_matches(one.check, text, true, false) ? "" : "does not match";
    default:
      return testing::pcre_matches(one.check, text, true) ? "" : "does not match";
  }
}

struct Walk {
  std::string text;
  bool ended = false;
  bool stuck = false;
};

// Draws allowed tokens evenly; late in the walk what closes something is preferred, so that most walks end. Every so
// often the state is taken back and the same tokens are accepted again.
Walk walk(flow::TokenMatcher& matcher, const std::vector<std::string>& tokens, PhiloxSequence& random) {
  Walk out;
  std::vector<uint32_t> mask((tokens.size() + 31) / 32);
  std::vector<TokenId> taken;
  for (uint32_t n = 0; n < kMaxTokens; ++n) {
    matcher.fill(mask);
    std::vector<TokenId> allowed;
    std::vector<TokenId> closing;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if ((mask[i / 32] >> (i % 32) & 1) == 0) continue;
      allowed.push_back(static_cast<TokenId>(i));
      bool closes = i == kEnd || tokens[i].find_first_of("\"}]") != std::string::npos;
      if (closes) closing.push_back(static_cast<TokenId>(i));
    }
    if (allowed.empty()) {
      out.stuck = true;
      return out;
    }
    EXPECT_EQ(std::ranges::count(allowed, kOther), 0);
    bool hurry = n > kMaxTokens / 4 && !closing.empty() && random.below(4) != 0;
    const std::vector<TokenId>& from = hurry ? closing : allowed;
    TokenId token = from[random.below(static_cast<uint32_t>(from.size()))];
    if (hurry && closing[0] == kEnd) token = kEnd;
    EXPECT_TRUE(matcher.accept(token)) << out.text << " then " << tokens[static_cast<size_t>(token)];
    taken.push_back(token);
    if (token == kEnd) {
      out.ended = matcher.ended();
      return out;
    }
    out.text += tokens[static_cast<size_t>(token)];
    if (random.below(16) != 0) continue;
    uint32_t back = 1 + random.below(static_cast<uint32_t>(std::min<size_t>(taken.size(), 5)));
    matcher.rollback(back);
    for (size_t i = taken.size() - back; i < taken.size(); ++i) EXPECT_TRUE(matcher.accept(taken[i]));
  }
  return out;
}

TEST(GrammarProperty, WhatIsGeneratedSatisfiesTheConstraint) {
  constexpr int kWalks = 24;
  Compiler compiler(small_vocabulary(), Limits(), 1);
  std::vector<std::string> tokens = small_vocabulary().tokens;
  size_t n_ended = 0;
  size_t n_walks = 0;
  uint64_t seed = 1;
  for (const Case& one : corpus()) {
    auto compiled = compiler.compile(one.spec);
    ASSERT_TRUE(compiled.ok()) << one.spec.text << ": " << compiled.error().message;
    PhiloxSequence random(seed++);
    for (int i = 0; i < kWalks; ++i) {
      auto matcher = (*compiled)->matcher();
      Walk done = walk(*matcher, tokens, random);
      ++n_walks;
      ASSERT_FALSE(done.stuck) << one.spec.text << " behind " << done.text;
      if (!done.ended) continue;
      ++n_ended;
      EXPECT_EQ(complaint(one, done.text), "") << one.spec.text << "\n" << done.text;
    }
  }
  EXPECT_GE(n_ended * 10, n_walks * 9) << n_ended << " of " << n_walks;
}

// What one answer within a limit of tokens is, drawn evenly; `again` follows the same tokens from the beginning now and
// then: the masks are the same.
Walk walk_in_time(const flow::Constraint& constraint, const std::vector<std::string>& tokens, uint32_t limit,
                  PhiloxSequence& random) {
  Walk out;
  std::vector<TokenId> taken;
  std::vector<uint32_t> mask(constraint.n_mask_words());
  flow::TimedMatcher matcher(constraint.matcher(), limit);
  auto draw = [&] {
    std::vector<TokenId> allowed;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if ((mask[i / 32] >> (i % 32) & 1) != 0) allowed.push_back(static_cast<TokenId>(i));
    }
    return allowed.empty() ? kNoToken : allowed[random.below(static_cast<uint32_t>(allowed.size()))];
  };
  while (taken.size() < limit) {
    matcher.fill(mask);
    if (random.below(8) == 0) {
      flow::TimedMatcher again(constraint.matcher(), limit);
      for (TokenId token : taken) EXPECT_TRUE(again.accept(token));
      std::vector<uint32_t> same(mask.size());
      again.fill(same);
      EXPECT_EQ(same, mask) << "behind " << out.text;
    }
    TokenId token = draw();
    if (token != kNoToken) {
      EXPECT_TRUE(matcher.accept(token)) << out.text;
      if (!matcher.in_time(mask)) {
        token = draw();
        if (token != kNoToken) {
          EXPECT_TRUE(matcher.accept(token)) << out.text;
          EXPECT_TRUE(matcher.in_time(mask)) << out.text;
        }
      }
    }
    out.stuck = token == kNoToken;
    if (out.stuck) return out;
    taken.push_back(token);
    out.ended = matcher.matcher().ended();
    if (out.ended) return out;
    out.text += tokens[static_cast<size_t>(token)];
  }
  return out;
}

// With a limit of the fewest tokens in which an answer can end, and of up to four times as many, every answer ends
// inside of it and satisfies its constraint.
TEST(GrammarProperty, AnswersEndInsideTheirLimit) {
  Compiler compiler(small_vocabulary(), Limits(), 1);
  std::vector<std::string> tokens = small_vocabulary().tokens;
  uint64_t seed = 1000;
  for (const Case& one : corpus()) {
    auto compiled = compiler.compile(one.spec);
    ASSERT_TRUE(compiled.ok()) << one.spec.text << ": " << compiled.error().message;
    uint32_t fewest = 1;
    while (fewest < 2000 && !(*compiled)->matcher()->ends_within(fewest)) ++fewest;
    ASSERT_LT(fewest, 2000u) << one.spec.text;
    PhiloxSequence random(seed++);
    for (uint32_t i = 0; i < 16; ++i) {
      uint32_t limit = i < 4 ? fewest + i : fewest + random.below(3 * fewest + 1);
      Walk done = walk_in_time(**compiled, tokens, limit, random);
      EXPECT_TRUE(done.ended) << one.spec.text << "\n" << done.text << "\nlimit " << limit << ", fewest " << fewest;
      if (!done.ended) continue;
      EXPECT_EQ(complaint(one, done.text), "") << one.spec.text << "\n" << done.text;
    }
  }
}

// The fewest tokens, with the end token, in which the end that is known can be written behind `taken`: by following it.
// 0: none is known.
uint32_t follow_the_end(const flow::Constraint& constraint, const std::vector<TokenId>& taken) {
  auto matcher = constraint.matcher();
  for (TokenId token : taken) EXPECT_TRUE(matcher->accept(token));
  std::vector<uint32_t> mask(constraint.n_mask_words());
  auto first_kept = [&](uint32_t n_tokens) {
    matcher->fill(mask);
    matcher->keep_ending(mask, n_tokens);
    for (size_t token = 0; token < mask.size() * 32; ++token) {
      if ((mask[token / 32] >> (token % 32) & 1) != 0) return static_cast<TokenId>(token);
    }
    return kNoToken;
  };
  TokenId token = first_kept(1);
  if (token != kNoToken && token != kEnd) return 0;  // nothing is cleared
  uint32_t needed = 1;
  for (; needed < 3000 && token == kNoToken; ++needed) token = first_kept(needed + 1);
  for (uint32_t left = needed; left > 0; --left) {
    token = first_kept(left);
    EXPECT_TRUE(token != kNoToken && matcher->accept(token)) << "with " << left << " of " << needed;
  }
  EXPECT_TRUE(matcher->ended());
  return needed;
}

// What is said of an end is what it takes to go there: no less and no more; and farthest_end() is never less.
TEST(GrammarProperty, NoEndIsFartherThanIsSaid) {
  constexpr uint32_t kWalks = 4;
  constexpr uint32_t kTokens = 60;
  Compiler compiler(small_vocabulary(), Limits(), 1);
  std::vector<uint32_t> mask((small_vocabulary().tokens.size() + 31) / 32);
  size_t n_known = 0;
  size_t n_followed = 0;
  uint64_t seed = 2000;
  for (const Case& one : corpus()) {
    auto compiled = compiler.compile(one.spec);
    ASSERT_TRUE(compiled.ok()) << one.spec.text;
    uint32_t farthest = (*compiled)->matcher()->farthest_end();
    if (farthest != UINT32_MAX) ++n_known;
    PhiloxSequence random(seed++);
    for (uint32_t i = 0; i < kWalks; ++i) {
      auto matcher = (*compiled)->matcher();
      std::vector<TokenId> taken;
      for (uint32_t n = 0; n < kTokens && !matcher->ended(); ++n) {
        bool early = farthest == UINT32_MAX || matcher->ends_within(farthest + 1);
        ASSERT_TRUE(early) << one.spec.text << ": " << farthest;
        if (n == 0 || random.below(4) == 0) {
          uint32_t needed = follow_the_end(**compiled, taken);
          auto said = [&](uint32_t n_tokens) {  // where nothing was followed
            auto fresh = (*compiled)->matcher();
            for (TokenId token : taken) EXPECT_TRUE(fresh->accept(token));
            return fresh->ends_within(n_tokens);
          };
          if (needed > 0) {
            ++n_followed;
            EXPECT_TRUE(said(needed)) << one.spec.text << " behind " << taken.size() << " tokens: " << needed;
            EXPECT_FALSE(said(needed - 1)) << one.spec.text << " behind " << taken.size() << " tokens: " << needed;
            EXPECT_LE(needed, uint64_t{farthest} + 1) << one.spec.text << " behind " << taken.size() << " tokens";
          }
        }
        matcher->fill(mask);
        std::vector<TokenId> allowed;
        for (size_t token = 0; token < mask.size() * 32; ++token) {
          if ((mask[token / 32] >> (token % 32) & 1) != 0) allowed.push_back(static_cast<TokenId>(token));
        }
        ASSERT_FALSE(allowed.empty());
        taken.push_back(allowed[random.below(static_cast<uint32_t>(allowed.size()))]);
        ASSERT_TRUE(matcher->accept(taken.back()));
      }
    }
  }
  EXPECT_GT(n_known, 30u);
  EXPECT_GT(n_followed, 1000u);
}

// The mask says exactly which tokens accept() takes.
TEST(GrammarProperty, TheMaskIsWhatIsAccepted) {
  Compiler compiler(small_vocabulary(), Limits(), 1);
  std::vector<std::string> tokens = small_vocabulary().tokens;
  std::vector<uint32_t> mask((tokens.size() + 31) / 32);
  PhiloxSequence random(99);
  for (const char* schema : {R"({"type":"object","properties":{"a":{"type":"string","maxLength":3}},"required":["a"]})",
                             R"({"type":"array","items":{"type":"string","minLength":2},"minItems":1})"}) {
    auto compiled = compiler.compile({.kind = flow::ConstraintKind::kJsonSchema, .text = schema});
    ASSERT_TRUE(compiled.ok());
    auto matcher = (*compiled)->matcher();
    for (int n = 0; n < 40 && !matcher->ended(); ++n) {
      matcher->fill(mask);
      std::vector<TokenId> allowed;
      for (size_t i = 0; i < tokens.size(); ++i) {
        auto token = static_cast<TokenId>(i);
        if ((mask[i / 32] >> (i % 32) & 1) == 0) continue;
        allowed.push_back(token);
        ASSERT_TRUE(matcher->accept(token)) << tokens[i];
        matcher->rollback(1);
      }
      ASSERT_FALSE(allowed.empty());
      ASSERT_TRUE(matcher->accept(allowed[random.below(static_cast<uint32_t>(allowed.size()))]));
    }
  }
}

}  // namespace
}  // namespace millrace::grammar
