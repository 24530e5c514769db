// Readers of the step lists of a tokenizer.json: normalizer, pre_tokenizer, decoder, post_processor. Sequences are
// flattened; a kind that is not supported is refused by name. Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

Result<std::vector<NormalizerStep>> read_normalizers(const Json* json);
Result<std::vector<PreTokenizerStep>> read_pre_tokenizers(const Json* json);
Result<std::vector<DecoderStep>> read_decoders(const Json* json);

struct TextFrame {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};
Result<TextFrame> read_post_processor(const Json* json);

// Typed members: the default when absent or null, kBadFile when of another type.
Error spec_error(std::string message);
std::string quoted(std::string_view text);  // for messages: in quotes, made printable, cut
Result<bool> bool_member(const Json& json, std::string_view key, bool fallback);
Result<int64_t> int_member(const Json& json, std::string_view key, int64_t fallback);
Result<std::string> string_member(const Json& json, std::string_view key, std::string_view fallback);

}  // namespace millrace::text
