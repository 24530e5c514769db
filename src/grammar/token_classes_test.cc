// TokenClasses, and the masks that are made by them: those of following each token by itself.
#include "grammar/token_classes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/macros.h"
#include "base/philox.h"
#include "grammar/compiler.h"

namespace millrace::grammar {
namespace {

using flow::ConstraintKind;
using flow::ConstraintSpec;

TEST(TokenClasses, TokensOfTheSameClassesShareANode) {
  std::vector<std::pair<int32_t, std::string>> tokens = {{7, "a"}, {3, "ab"},  {4, "abc"}, {0, "a1"},
                                                         {1, "b"}, {2, "b1b"}, {5, "1"},   {6, "11"}};
  std::ranges::sort(tokens, {}, &std::pair<int32_t, std::string>::second);
  std::array<uint8_t, 256> class_of{};
  for (char c : {'a', 'b', 'c'}) class_of[static_cast<unsigned char>(c)] = 1;
  TokenClasses classes(tokens, 40, class_of);
  ASSERT_EQ(classes.classes().size(), 2u);
  EXPECT_EQ(classes.classes()[1].count(), 3u);
  EXPECT_EQ(classes.deepest(), 3u);
  EXPECT_EQ(classes.all(), (std::vector<uint32_t>{0xFF, 0}));
  ASSERT_EQ(classes.places().size(), tokens.size());
  std::vector<std::vector<uint8_t>> ways;  // of each node
  std::vector<uint8_t> way;
  for (const TokenClasses::Node& node : classes.nodes()) {
    auto behind = classes.nodes().begin() + static_cast<std::ptrdiff_t>(ways.size()) + 1;
    auto end = std::find_if(behind, classes.nodes().end(), [&](const auto& one) { return one.depth <= node.depth; });
    EXPECT_EQ(node.end, static_cast<size_t>(end - classes.nodes().begin()));
    way.resize(node.depth == 0 ? 0 : node.depth - 1u);
    if (node.depth > 0) way.push_back(node.last);
    ways.push_back(way);
  }
  EXPECT_EQ(std::set(ways.begin(), ways.end()).size(), ways.size());
  EXPECT_EQ(ways.size(), 8u);  // nothing, x, xx, xxx, x0, x0x, 0, 00
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::vector<uint8_t> want;
    for (char c : tokens[i].second) want.push_back(class_of[static_cast<unsigned char>(c)]);
    EXPECT_EQ(classes.places()[i].token, tokens[i].first);
    EXPECT_EQ(ways[classes.places()[i].node], want) << tokens[i].second;
  }
}

// The end, all bytes, and so many pieces that few states of a grammar leave fewer than a thousand of them open.
Vocabulary many_tokens() {
  constexpr std::string_view kPieces[] = {"a", "b", "f",  "x",  "z", "-", "0",        "1",
                                          ".", "@", "\"", "\n", " ", "q", "\xC3\xBC", "\xE2\x82\xAC"};
  std::set<std::string> texts;
  for (uint32_t i = 0; texts.size() < 3000; ++i) {
    PhiloxBlock bits = philox4x32(11, {i, 0, 0, 0});
    std::string text;
    for (uint32_t k = 0; k < 2 + bits[0] % 5; ++k) text += kPieces[(bits[1] >> 4 * k) % std::size(kPieces) & 15];
    if (bits[2] % 8 == 0) text.pop_back();  // inside of a character, perhaps
    texts.insert(text);
  }
  for (uint32_t i = 0; i < 729; ++i) {  // brackets, and what stands between them
    std::string text;
    for (uint32_t rest = i, k = 0; k < 6; ++k, rest /= 3) text += "01a"[rest % 3];
    texts.insert(text);
  }
  Vocabulary out;
  out.tokens = {""};
  out.end_tokens = {0};
  for (int byte = 0; byte < 256; ++byte) out.tokens.emplace_back(1, static_cast<char>(byte));
  for (const std::string& text : texts) {
    if (text.size() > 1) out.tokens.push_back(text);
  }
  return out;
}

// Along random answers.
void compare(const ConstraintSpec& spec, const Vocabulary& vocabulary, Compiler& compiler) {
  constexpr uint32_t kAnswers = 1;
  constexpr uint32_t kTokens = 7;
  auto compiled = compiler.compile(spec);
  ASSERT_TRUE(compiled.ok()) << spec.text << ": " << compiled.error().message;
  std::vector<uint32_t> mask((*compiled)->n_mask_words());
  size_t n_most = 0;
  for (uint32_t seed = 1; seed <= kAnswers; ++seed) {
    PhiloxSequence random(seed);
    auto matcher = (*compiled)->matcher();
    std::string text;
    for (uint32_t n = 0; n < kTokens && !matcher->ended(); ++n) {
      matcher->fill(mask);
      std::vector<TokenId> allowed;
      for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
        auto token = static_cast<TokenId>(i);
        bool taken = matcher->accept(token);
        if (taken) matcher->rollback(1);
        ASSERT_EQ((mask[i / 32] >> (i % 32) & 1) != 0, taken)
            << spec.text << " behind " << text << ": " << vocabulary.tokens[i];
        if (taken && !vocabulary.tokens[i].empty()) allowed.push_back(token);
      }
      n_most = std::max(n_most, allowed.size());
      if (allowed.empty()) break;
      TokenId token = allowed[random.below(static_cast<uint32_t>(allowed.size()))];
      ASSERT_TRUE(matcher->accept(token));
      text += vocabulary.tokens[static_cast<size_t>(token)];
    }
  }
  EXPECT_GT(n_most, 100u) << spec.text;
}

TEST(TokenClasses, MasksOfCountedClassesAreThoseOfEachTokenByItself) {
  Vocabulary vocabulary = many_tokens();
  Compiler compiler(vocabulary, Limits(), 1);
  constexpr ConstraintKind kRegex = ConstraintKind::kRegex;
  constexpr ConstraintKind kGrammar = ConstraintKind::kGrammar;
  constexpr ConstraintKind kSchema = ConstraintKind::kJsonSchema;
  for (const ConstraintSpec& spec : std::vector<ConstraintSpec>{
           {.kind = kRegex, .text = R"([a-z]{1,20}@[a-z0-9]{1,9}(\.[a-z]{1,4})*)"},
           {.kind = kRegex, .text = R"([^\n]{1,6}\n([^\n]{2,3}){2,30})"},
           {.kind = kRegex, .text = "([a-f]{1,3}|[a-z]{2,5}-)*(.{0,4}x){1,3}"},
           {.kind = kRegex, .text = "(.{0,9}){4}"},
           {.kind = kGrammar, .text = "root ::= (item \"\\n\")+\nitem ::= \"-\" [^\\n]{1,12}"},
           {.kind = kGrammar, .text = "root ::= \"a\" root \"b\" | [^\\n]{3,9} | root root"},
           {.kind = kGrammar, .text = "root ::= part\npart ::= \"0\" part \"1\" | [a-z.]{1,9} | part \"-\" part"},
           {.kind = kSchema, .text = R"({"type":"string","pattern":"^[^@]{1,20}@[a-z]{2,9}$"})"},
           {.kind = kSchema, .text = R"({"type":"array","items":{"type":"string","pattern":"[0-9]z$"}})"}}) {
    compare(spec, vocabulary, compiler);
  }
}

// Too many letters stand for themselves to be told apart: what they lead to is found out token by token.
TEST(TokenClasses, MasksAmongManyNamesAreThoseOfEachTokenByItself) {
  Vocabulary vocabulary = many_tokens();
  Compiler compiler(vocabulary, Limits(), 1);
  for (const char* text : {R"(([a-z0-9.]{2,9}|[a-z]{1,5} (abcdefg|hijklmn|opqrstu|x|zzz|vwxyz))+)",
                           R"(([^\n]{1,3}(a|fz|bcd|eghijklmnopqrstuvwx|zb)){2,9})"}) {
    compare({.kind = ConstraintKind::kRegex, .text = text}, vocabulary, compiler);
  }
}

}  // namespace
}  // namespace millrace::grammar
