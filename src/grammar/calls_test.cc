// Calls of tools as a constraint, and constraints behind a reasoning block with a budget, on one token per byte.
#include "grammar/calls.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/philox.h"
#include "flow/timed_matcher.h"
#include "grammar/compiler.h"
#include "grammar/reasoning.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace millrace::grammar {
namespace {

constexpr TokenId kEnd = 128;
constexpr TokenId kOpen = 129;   // <t>
constexpr TokenId kClose = 130;  // </t>

text::Tokenizer bytes() {
  text::TokenizerSpec spec;
  spec.kind = text::TokenizerKind::kByteBpe;
  for (int byte = 0; byte < 128; ++byte) {
    char c = static_cast<char>(byte);
    spec.tokens.push_back(text::to_byte_alphabet({&c, 1}));
    spec.types.push_back(text::TokenType::kNormal);
  }
  for (const char* name : {"<end>", "<t>", "</t>"}) {
    text::AddedToken added;
    added.content = name;
    added.id = static_cast<TokenId>(spec.tokens.size());
    added.special = true;
    spec.tokens.emplace_back(name);
    spec.types.push_back(text::TokenType::kControl);
    spec.added.push_back(std::move(added));
  }
  text::DecoderStep decoder;
  decoder.kind = text::DecoderKind::kByteLevel;
  spec.decoders.push_back(decoder);
  spec.eos = kEnd;
  spec.eog = {kEnd};
  auto made = text::Tokenizer::create(std::move(spec));
  EXPECT_TRUE(made.ok());
  return std::move(made).value();
}

std::shared_ptr<const flow::Constraint> compiled(const text::Tokenizer& tokenizer, const std::string& text) {
  std::vector<TokenId> ends = {kEnd};
  Compiler compiler(vocabulary_of(tokenizer, ends, tokenizer.n_vocab()), Limits(), 1);
  auto made = compiler.compile({.kind = flow::ConstraintKind::kCalls, .text = text, .param = "tools"});
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  return made.ok() ? *made : nullptr;
}

// Every token is in the mask before it is taken.
bool takes(flow::TokenMatcher& matcher, TokenId token) {
  std::vector<uint32_t> mask((131 + 31) / 32);
  matcher.fill(mask);
  auto bit = static_cast<size_t>(token);
  bool allowed = (mask[bit / 32] >> (bit % 32) & 1) != 0;
  EXPECT_EQ(matcher.accept(token), allowed) << token;
  return allowed;
}

bool takes(flow::TokenMatcher& matcher, std::string_view text) {
  for (char c : text) {
    if (!takes(matcher, static_cast<TokenId>(c))) return false;
  }
  return true;
}

bool is_whole(const flow::Constraint& constraint, std::string_view text) {
  auto matcher = constraint.matcher();
  return takes(*matcher, text) && takes(*matcher, kEnd) && matcher->ended();
}

std::string spec(std::string_view mode, bool many, std::string_view more = "") {
  return R"({"mode":")" + std::string(mode) + R"(","open":"","close":"","separator":"\n","trigger":"<c>","many":)" +
         (many ? "true" : "false") + R"(,"cut":0,"calls":[{"begin":"<c>{\"name\": \"f\", \"arguments\": ",)" +
         R"("schema":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},"end":"}</c>",)" +
         R"("path":"tools[0].function.parameters"},{"begin":"<c>{\"name\": \"g\", \"arguments\": ","schema":true,)" +
         R"("end":"}</c>","path":"tools[1].function.parameters"}])" + std::string(more) + "}";
}

constexpr const char* kF = R"(<c>{"name": "f", "arguments": {"a": 1}}</c>)";
constexpr const char* kG = R"(<c>{"name": "g", "arguments": {"any": [1, "x"]}}</c>)";

TEST(Calls, MustCall) {
  text::Tokenizer tokenizer = bytes();
  auto one = compiled(tokenizer, spec("must", false));
  auto many = compiled(tokenizer, spec("must", true));
  ASSERT_TRUE(one && many);
  std::string both = std::string(kF) + "\n" + kG;
  EXPECT_TRUE(is_whole(*one, kF));
  EXPECT_TRUE(is_whole(*one, kG));
  EXPECT_FALSE(is_whole(*one, both));
  EXPECT_TRUE(is_whole(*many, both));
  for (const char* text :
       {"", "x", "<c>", R"(<c>{"name": "f", "arguments": {}}</c>)", R"(<c>{"name": "f", "arguments": {"a": "x"}}</c>)",
        R"(<c>{"name": "h", "arguments": {}}</c>)"}) {
    EXPECT_FALSE(is_whole(*many, text)) << text;
  }
  auto either = compiled(tokenizer, spec("must", false, R"(,"or":{"type":"object","properties":{"b":{"const":1}}})"));
  EXPECT_TRUE(is_whole(*either, R"({"b": 1})"));
  EXPECT_TRUE(is_whole(*either, kF));
  EXPECT_FALSE(is_whole(*either, "text"));
}

TEST(Calls, InsideFreeText) {
  text::Tokenizer tokenizer = bytes();
  auto many = compiled(tokenizer, spec("tagged", true));
  ASSERT_TRUE(many);
  for (const std::string& text : {std::string("just text"), std::string("a < b"), std::string("so: ") + kF,
                                  std::string(kF) + " and " + kG + " done"}) {
    EXPECT_TRUE(is_whole(*many, text)) << text;
  }
  EXPECT_FALSE(is_whole(*many, "so: <c>nothing"));
  EXPECT_FALSE(is_whole(*many, R"(<c>{"name": "f", "arguments": {"b": 1}}</c>)"));
}

TEST(Calls, RefusalsNameTheTool) {
  std::string bad = spec("must", false);
  bad.replace(bad.find("integer"), 7, "integre");
  auto read = read_constraint({.kind = flow::ConstraintKind::kCalls, .text = bad, .param = "tools"}, Limits());
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::kInvalidSchema);
  EXPECT_EQ(read.error().param, "tools[0].function.parameters");
  EXPECT_TRUE(read.error().message.starts_with("tools[0].function.parameters: ")) << read.error().message;
}

ReasoningBlock block_of_bytes() {
  ReasoningBlock block;
  block.open = kOpen;
  block.close = "</t>";
  block.close_ids = {kClose};
  block.end_tokens = {kEnd};
  block.n_vocab = 131;
  return block;
}

TEST(Reasoning, TheConstraintBeginsBehindTheBlock) {
  text::Tokenizer tokenizer = bytes();
  auto inner = compiled(tokenizer, spec("must", false));
  auto whole = behind_reasoning(inner, block_of_bytes(), tokenizer);
  EXPECT_TRUE(is_whole(*whole, kF));
  auto matcher = whole->matcher();
  EXPECT_TRUE(takes(*matcher, kOpen));
  EXPECT_TRUE(takes(*matcher, "anything <c>"));
  EXPECT_FALSE(takes(*matcher, kEnd));
  EXPECT_TRUE(takes(*matcher, kClose));
  EXPECT_FALSE(takes(*matcher, "x"));
  EXPECT_TRUE(takes(*matcher, "<c>{"));
  matcher->rollback(5);  // to the middle of the block
  EXPECT_TRUE(takes(*matcher, "y"));
  EXPECT_TRUE(takes(*matcher, kClose));
  EXPECT_TRUE(takes(*matcher, kF));
  EXPECT_TRUE(takes(*matcher, kEnd));
  EXPECT_TRUE(matcher->ended());
}

TEST(Reasoning, ABudgetForcesTheEnd) {
  text::Tokenizer tokenizer = bytes();
  ReasoningBlock block = block_of_bytes();
  block.inside = true;
  block.budget = 3;
  auto free = behind_reasoning(nullptr, block, tokenizer);
  auto matcher = free->matcher();
  std::vector<TokenId> draft(4);
  EXPECT_EQ(matcher->draft(draft), 0u);
  EXPECT_TRUE(takes(*matcher, "abc"));
  EXPECT_EQ(matcher->draft(draft), 1u);
  EXPECT_EQ(draft[0], kClose);
  EXPECT_FALSE(takes(*matcher, "d"));
  EXPECT_TRUE(takes(*matcher, kClose));
  EXPECT_TRUE(takes(*matcher, "anything"));
  EXPECT_TRUE(takes(*matcher, kEnd));
  EXPECT_TRUE(matcher->ended());
  // an end of several tokens, which may also come by itself
  block.close_ids = {'<', '/', 't', '>'};
  auto spelled = behind_reasoning(compiled(tokenizer, spec("must", false)), block, tokenizer);
  auto other = spelled->matcher();
  EXPECT_TRUE(takes(*other, "abc</t>"));
  EXPECT_TRUE(takes(*other, kF));
  block.budget.reset();
  auto early = behind_reasoning(compiled(tokenizer, spec("must", false)), block, tokenizer)->matcher();
  EXPECT_TRUE(takes(*early, "a</b</t>"));
  EXPECT_TRUE(takes(*early, kF));
}

// Whatever is drawn inside the block, it ends early enough for what must come behind it.
TEST(Reasoning, TheBlockLeavesRoomForTheAnswer) {
  text::Tokenizer tokenizer = bytes();
  auto inner = compiled(tokenizer, spec("must", false));
  ReasoningBlock block = block_of_bytes();
  block.inside = true;
  for (bool spelled : {false, true}) {
    if (spelled) block.close_ids = {'<', '/', 't', '>'};
    auto whole = behind_reasoning(inner, block, tokenizer);
    // the shortest call is of g, with {}
    auto least = static_cast<uint32_t>(std::string_view(R"(<c>{"name": "g", "arguments": {}}</c>)").size() + 1 +
                                       block.close_ids.size());
    EXPECT_FALSE(whole->matcher()->ends_within(least - 1));
    PhiloxSequence random(7);
    for (uint32_t limit = least; limit < least + 40; ++limit) {
      flow::TimedMatcher matcher(whole->matcher(), limit);
      std::vector<uint32_t> mask(whole->n_mask_words());
      uint32_t n = 0;
      while (n < limit && !matcher.matcher().ended()) {
        matcher.fill(mask);
        for (bool taken = false; !taken;) {
          auto token = static_cast<TokenId>(random.below(131));
          bool allowed = (mask[static_cast<size_t>(token) / 32] >> (token % 32) & 1) != 0;
          taken = allowed && matcher.accept(token) && matcher.in_time(mask);
        }
        ++n;
      }
      EXPECT_TRUE(matcher.matcher().ended()) << "limit " << limit;
    }
  }
}

}  // namespace
}  // namespace millrace::grammar
