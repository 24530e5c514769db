// Words of a request as tokens: what its samplers must not say, and where they take repetitions to end.
// Thread: any.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "flow/sampling_params.h"
#include "text/tokenizer.h"

namespace millrace::instance {

// Each word as it stands at the beginning and in the middle of a text (vLLM's bad_words).
Result<std::vector<std::vector<TokenId>>> bad_word_tokens(const text::Tokenizer& tokenizer,
                                                          std::span<const std::string> words);

// DRY: every token that holds a breaker, and every token that ends in the beginning of one, followed by the tokens of
// the rest (llama.cpp, get_overlapping_token_sequences). One pass over the vocabulary. kInvalidValue when that gives
// more than 100,000 sequences.
Result<flow::DryBreakers> breaker_tokens(const text::Tokenizer& tokenizer, std::span<const std::string> breakers);

// The breakers of the last few requests that named others, and so mostly the usual ones. Of one tokenizer.
class BreakerCache {
 public:
  Result<std::shared_ptr<const flow::DryBreakers>> get(const text::Tokenizer& tokenizer,
                                                       const std::vector<std::string>& breakers);

 private:
  using Entry = std::pair<std::vector<std::string>, std::shared_ptr<const flow::DryBreakers>>;
  std::mutex mutex_;
  std::vector<Entry> entries_;  // guarded by mutex_; the one used last is the first
};

}  // namespace millrace::instance
