// POST /tokenize and /detokenize in the dialects of vLLM and llama-server, told apart by the keys of the body.
// Thread: any.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/chat.h"
#include "api/common.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"

namespace millrace::api {

enum class TokenizeDialect : uint8_t { kVllm, kLlama };

struct TokenizeRequest {
  TokenizeDialect dialect = TokenizeDialect::kVllm;
  std::string text;                 // `prompt` or `content`; unused when chat is set
  std::optional<ChatRequest> chat;  // `messages`: rendered first (only the template fields are filled in)
  bool add_special = true;          // BOS and the like; default: vLLM text true, messages and llama false
  bool parse_special = true;        // special-token text becomes special tokens
  bool with_pieces = false;         // return_token_strs (vLLM), with_pieces (llama)
};

struct DetokenizeRequest {
  std::vector<TokenId> tokens;
};

Result<TokenizeRequest> parse_tokenize(const Json& body, const ParseContext& context);
Result<DetokenizeRequest> parse_detokenize(const Json& body, const ParseContext& context);

// pieces: the bytes of each token, needed when with_pieces is set (else empty).
std::string tokenize_reply(const TokenizeRequest& request, const std::vector<TokenId>& tokens,
                           const std::vector<std::string>& pieces, int64_t max_len);
// {"prompt":text} for vLLM, {"content":text} for llama-server.
std::string detokenize_reply(std::string_view text, TokenizeDialect dialect);

}  // namespace millrace::api
