// See token_text.h. vLLM shows tokens the same way (v1/engine/logprobs.py, _correct_decoded_token).
#include "instance/token_text.h"

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace millrace::instance {
namespace {

// `next` is a copy: what comes after this token is not touched.
std::string text_added(const text::Tokenizer& tokenizer, text::Detokenizer next, TokenId id) {
  return tokenizer.is_special(id) ? tokenizer.token_text(id) : next.push(id);
}

api::TokenText token_text(const text::Tokenizer& tokenizer, const flow::TokenLogprob& entry, std::string text) {
  return {.id = entry.token,
          .bytes = std::string(tokenizer.token_bytes(entry.token)),
          .text = std::move(text),
          .logprob = entry.logprob,
          .rank = entry.rank};
}

// Cuts a text at the pieces of its tokens. Where a normaliser changed characters the pieces are not the text itself:
// each token then takes as many characters as its piece has, the last one the rest.
class TextCutter {
 public:
  explicit TextCutter(std::string_view text) : text_(text) {}

  bool continues_with(std::string_view piece) const { return text_.substr(at_).starts_with(piece); }
  std::string take(std::string_view piece) {
    const size_t begin = at_;
    for (size_t i = 0; i < piece.size() && at_ < text_.size(); i += text::rune_at(piece, i).n_bytes) {
      at_ += text::rune_at(text_, at_).n_bytes;
    }
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::string rest() { return std::string(text_.substr(std::exchange(at_, text_.size()))); }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

api::PositionText position_text(const text::Tokenizer& tokenizer, const text::Detokenizer& before,
                                std::string chosen_text, const flow::PositionLogprobs& position) {
  api::PositionText out;
  out.top.reserve(position.top.size());
  for (const flow::TokenLogprob& entry : position.top) {
    out.top.push_back(
        token_text(tokenizer, entry,
                   entry.token == position.chosen.token ? chosen_text : text_added(tokenizer, before, entry.token)));
  }
  out.chosen = token_text(tokenizer, position.chosen, std::move(chosen_text));
  return out;
}

std::vector<api::PositionText> prompt_positions(const text::Tokenizer& tokenizer, std::span<const TokenId> ids,
                                                std::span<const flow::PositionLogprobs> positions,
                                                const std::string* shown) {
  std::vector<api::PositionText> out;
  const size_t n = std::min(ids.size(), positions.size() + 1);
  out.reserve(n);
  text::Detokenizer detokenizer(tokenizer, false);
  TextCutter cutter(shown != nullptr ? std::string_view(*shown) : std::string_view());
  for (size_t i = 0; i < n; ++i) {
    text::Detokenizer before = detokenizer;
    // A special token that the tokenizer put around the text, or that is left out of it.
    bool hidden =
        shown != nullptr && tokenizer.is_special(ids[i]) && !cutter.continues_with(tokenizer.token_bytes(ids[i]));
    std::string piece = hidden ? std::string() : detokenizer.push(ids[i]);
    if (shown != nullptr) piece = cutter.take(piece);
    if (i == 0) {
      out.emplace_back();
      out[0].has_logprob = false;
      out[0].chosen = token_text(tokenizer, {.token = ids[0]}, std::move(piece));
    } else {
      out.push_back(position_text(tokenizer, before, std::move(piece), positions[i - 1]));
    }
  }
  if (n > 0 && n == ids.size()) out.back().chosen.text += shown != nullptr ? cutter.rest() : detokenizer.finish();
  return out;
}

}  // namespace millrace::instance
