// Checks that both builders of a TokenizerSpec end with. Thread: any.
#pragma once

#include <string_view>
#include <unordered_map>

#include "base/limits.h"
#include "base/result.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

// Of a row of the table that has no flag.
inline size_t fixed_limit(LimitId id) {
  return static_cast<size_t>(limit_table()[static_cast<size_t>(id)].default_value);
}
inline size_t max_vocabulary() { return fixed_limit(LimitId::kVocabulary); }
inline size_t max_merges() { return fixed_limit(LimitId::kMerges); }
inline size_t max_token_bytes() { return fixed_limit(LimitId::kTokenBytes); }

using PieceIds = std::unordered_map<std::string_view, TokenId>;

// Sizes of the pieces and the form of byte tokens.
Result<void> check_tokens(const TokenizerSpec& spec);
// The merge of two pieces; all three must be tokens.
Result<Merge> find_merge(const PieceIds& ids, size_t index, std::string_view left, std::string_view right);
// Duplicate merges.
Result<void> check_merges(const TokenizerSpec& spec);
// Special ids, frame and scores; fills eog, add_bos and add_eos. The last step of a builder.
Result<void> finish_spec(TokenizerSpec& spec);

}  // namespace millrace::text
