// WordPiece.
#include "text/wordpiece_model.h"

#include "text/utf8.h"

namespace millrace::text {

WordPieceModel::WordPieceModel(const TokenizerSpec& spec, const Vocabulary& vocabulary)
    : vocabulary_(&vocabulary), prefix_(spec.continuing_prefix), max_chars_(spec.max_word_chars) {}

void WordPieceModel::encode(std::string_view word, std::vector<TokenId>& out) const {
  std::vector<size_t> borders{0};  // byte offsets of characters
  while (borders.back() < word.size() && borders.size() <= size_t{max_chars_} + 1) {
    borders.push_back(borders.back() + rune_at(word, borders.back()).n_bytes);
  }
  const size_t first_out = out.size();
  size_t begin = 0;  // index into borders
  const bool too_long = borders.back() < word.size() || borders.size() - 1 > max_chars_;
  std::string key;
  while (!too_long && begin + 1 < borders.size()) {
    size_t end = borders.size() - 1;
    TokenId id = kNoToken;
    for (; end > begin; --end) {
      key = begin > 0 ? prefix_ : std::string();
      key.append(word.substr(borders[begin], borders[end] - borders[begin]));
      id = vocabulary_->find(key);
      if (id != kNoToken) break;
    }
    if (id == kNoToken) break;
    out.push_back(id);
    begin = end;
  }
  if (begin + 1 == borders.size()) return;
  out.resize(first_out);
  if (vocabulary_->unk != kNoToken) out.push_back(vocabulary_->unk);
}

}  // namespace millrace::text
