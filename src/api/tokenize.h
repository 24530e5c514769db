// POST /tokenize and /detokenize in the dialects of vLLM and llama-server, told apart by the keys of the body.
// Thread: any.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/chat.h"
#include "api/common.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"
#include "text/detokenizer.h"

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

// Takes the text out of `body`.
Result<TokenizeRequest> parse_tokenize(Json body, const ParseContext& context);
Result<DetokenizeRequest> parse_detokenize(const Json& body, const ParseContext& context);

// What a chat template reads of a body with messages, checked as /v1/chat/completions does; other fields are not looked
// at.
Result<ChatRequest> parse_conversation(const Json& body, const ParseContext& context);

// A reply in pieces, so that a large one is never whole in memory. append() adds at least one item and stops once `out`
// has max_bytes; false when the reply is complete.
class TokenizeReply {
 public:
  // bytes_of: the bytes of a token; asked for when request.with_pieces is set (else it may be empty).
  using BytesOf = std::function<std::string_view(TokenId)>;
  TokenizeReply(const TokenizeRequest& request, std::vector<TokenId> tokens, int64_t max_len, BytesOf bytes_of);
  bool append(std::string& out, size_t max_bytes);

 private:
  enum class Part : uint8_t { kHead, kIds, kPieces, kDone };
  void append_items(std::string& out, size_t max_bytes);
  void append_item(std::string& out, TokenId id) const;

  TokenizeDialect dialect_;
  bool with_pieces_;
  std::vector<TokenId> tokens_;
  int64_t max_len_;
  BytesOf bytes_of_;
  Part part_ = Part::kHead;
  size_t next_ = 0;  // token of the list being written
};

// {"prompt":text}, or under another key, also in pieces.
class DetokenizeReply {
 public:
  // `tokenizer` outlives it.
  DetokenizeReply(const text::Tokenizer& tokenizer, std::vector<TokenId> tokens, std::string_view key = "prompt");
  bool append(std::string& out, size_t max_bytes);

 private:
  text::Detokenizer detokenizer_;
  std::vector<TokenId> tokens_;
  std::string_view key_;
  size_t next_ = 0;
};

}  // namespace millrace::api
