// Incremental decoding: bytes of tokens, cut at the last whole character.
#include "text/detokenizer.h"

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace millrace::text {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special) {}

std::string Detokenizer::push(TokenId id) {
  std::string bytes = std::exchange(held_, {});
  bool skip = skip_special_ && !std::ranges::binary_search(kept_, id);
  tokenizer_->append_bytes(id, skip, cursor_, bytes);
  const size_t n_held = unfinished_tail_bytes(bytes);
  held_.assign(bytes, bytes.size() - n_held, n_held);
  bytes.resize(bytes.size() - n_held);
  return repair_utf8(bytes);
}

std::string Detokenizer::finish() {
  cursor_ = {};
  return repair_utf8(std::exchange(held_, {}));
}

void Detokenizer::prime(std::span<const TokenId> ids) {
  for (const TokenId id : ids) push(id);
}

}  // namespace millrace::text
