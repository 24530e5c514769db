// Base64 (RFC 4648, section 4, with padding): the form of binary tables in tokenizer.json. Thread: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::text {

// Nothing when the text is not base64.
std::optional<std::string> decode_base64(std::string_view text);
std::string encode_base64(std::string_view bytes);

}  // namespace millrace::text
