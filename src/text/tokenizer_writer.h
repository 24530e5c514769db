// Writes a TokenizerSpec as the files that `transformers.AutoTokenizer.from_pretrained(folder)` loads, with equal ids.
// Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

// tokenizer.json. kNotSupported for a spec that the format cannot express.
Result<std::string> to_tokenizer_json(const TokenizerSpec& spec);
// tokenizer_config.json; chat_template may be empty.
std::string to_tokenizer_config(const TokenizerSpec& spec, std::string_view chat_template, int64_t max_length);

}  // namespace millrace::text
