// BERT's older tokenizer files: vocab.txt, one WordPiece token per line, and tokenizer_config.json. Thread: any.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

// The config's do_lower_case, strip_accents and tokenize_chinese_chars are read; it may be null. kBadFile when a
// special token is missing or a line repeats another.
Result<TokenizerSpec> spec_from_vocab_txt(std::string_view vocab, const Json* tokenizer_config);

}  // namespace millrace::text
