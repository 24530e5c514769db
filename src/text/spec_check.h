// Checks that both builders of a TokenizerSpec end with. Thread: any.
#pragma once

#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

constexpr size_t kMaxVocabulary = 2'000'000;  // limits vocabulary, merges, token_bytes (base/limits.h; fixed)
constexpr size_t kMaxMerges = 4'000'000;
constexpr size_t kMaxTokenBytes = 4096;

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
