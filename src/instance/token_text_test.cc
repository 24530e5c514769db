// The text of single tokens: characters over several tokens, special tokens, prompts a normaliser changed.
#include "instance/token_text.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/echo_instance.h"

namespace millrace::instance {
namespace {

const text::Tokenizer& tokenizer() {
  static const text::Tokenizer kTokenizer = std::move(text::Tokenizer::create(testing::byte_tokenizer_spec())).value();
  return kTokenizer;
}

std::vector<TokenId> bytes_of(std::string_view text) {
  std::vector<TokenId> out;
  for (char c : text) out.push_back(static_cast<uint8_t>(c));
  return out;
}

std::vector<std::string> prompt_texts(const std::vector<TokenId>& ids, const std::string* shown) {
  std::vector<flow::PositionLogprobs> positions(ids.size() - 1);
  for (size_t i = 0; i + 1 < ids.size(); ++i) positions[i].chosen.token = ids[i + 1];
  std::vector<std::string> out;
  for (const api::PositionText& at : prompt_positions(tokenizer(), ids, positions, shown)) {
    EXPECT_EQ(at.chosen.bytes, tokenizer().token_bytes(at.chosen.id));
    out.push_back(at.chosen.text);
  }
  return out;
}

using Texts = std::vector<std::string>;

TEST(TokenText, TheCompletingTokenHasTheCharacter) {
  const std::string text =
      "a\xF0\x9F\x98\x80"
      "b";
  const Texts want = {"a", "", "", "", "\xF0\x9F\x98\x80", "b"};
  EXPECT_EQ(prompt_texts(bytes_of(text), &text), want);
  EXPECT_EQ(prompt_texts(bytes_of(text), nullptr), want);
}

TEST(TokenText, AnUnfinishedEndBelongsToTheLastToken) {
  const std::string shown = "a\xEF\xBF\xBD";
  EXPECT_EQ(prompt_texts(bytes_of("a\xF0\x9F"), &shown), (Texts{"a", "", "\xEF\xBF\xBD"}));
}

TEST(TokenText, SpecialTokensShowOnlyWhereTheTextHasThem) {
  std::vector<TokenId> ids = {testing::kUserToken, 'h', 'i', testing::kEndToken};
  const std::string without = "hi";
  EXPECT_EQ(prompt_texts(ids, &without), (Texts{"", "h", "i", ""}));
  const std::string with = "<user>hi<end>";
  EXPECT_EQ(prompt_texts(ids, &with), (Texts{"<user>", "h", "i", "<end>"}));
  EXPECT_EQ(prompt_texts(ids, nullptr), (Texts{"<user>", "h", "i", "<end>"}));
}

TEST(TokenText, PiecesOfAChangedTextStillJoinToIt) {
  const std::string shown = "e\xCC\x81!!";  // the tokens are of the composed form
  EXPECT_EQ(prompt_texts(bytes_of("\xC3\xA9!"), &shown), (Texts{"", "e", "\xCC\x81!!"}));
}

TEST(TokenText, OtherCandidatesShowWhatTheyWouldAdd) {
  text::Detokenizer before(tokenizer(), true);
  ASSERT_EQ(before.push(0xC3), "");
  flow::PositionLogprobs position;
  position.chosen.token = 0xA9;
  for (TokenId id : {0xA9, 0xA8, 0xF0, static_cast<int>('x'), testing::kEndToken})
    position.top.push_back({.token = id});
  api::PositionText at = position_text(tokenizer(), before, "\xC3\xA9", position);
  EXPECT_EQ(at.chosen.text, "\xC3\xA9");
  Texts top;
  for (const api::TokenText& entry : at.top) top.push_back(entry.text);
  EXPECT_EQ(top, (Texts{"\xC3\xA9", "\xC3\xA8", "\xEF\xBF\xBD", "\xEF\xBF\xBDx", "<end>"}));
}

}  // namespace
}  // namespace millrace::instance
