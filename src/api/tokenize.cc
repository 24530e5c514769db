#include "api/tokenize.h"

#include <fmt/core.h>

#include <iterator>
#include <utility>

#include "api/fields.h"
#include "api/json_text.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

Error bad(std::string_view name, std::string_view wanted) {
  return Error{ErrorCode::kInvalidValue, fmt::format("{} must be {}", name, wanted), std::string(name)};
}

Result<bool> read_bool(const Json& body, std::string_view name, bool fallback) {
  const Json* value = body.get(name);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) return bad(name, "a boolean");
  return value->as_bool();
}

// Moves the text out.
Result<std::string> take_text(Json& body, std::string_view name) {
  Json* value = body.as_object().find(name);
  if (!value->is_string()) return bad(name, "a string");
  return std::move(value->as_string());
}

}  // namespace

Result<ChatRequest> parse_conversation(const Json& body, const ParseContext& context) {
  Json fields = Json::object();
  for (std::string_view name : {"model", "messages", "add_generation_prompt", "continue_final_message", "chat_template",
                                "chat_template_kwargs", "tools"}) {
    const Json* value = body.get(name);
    bool no_tools = name == "tools" && value != nullptr && value->is_array() && value->size() == 0;
    if (value != nullptr && !no_tools) fields.set(name, *value);
  }
  return parse_chat(fields, context);
}

Result<TokenizeRequest> parse_tokenize(Json body, const ParseContext& context) {
  if (!body.is_object()) return Error{ErrorCode::kInvalidValue, "the body must be a JSON object", ""};
  TokenizeRequest request;
  if (body.get("prompt") != nullptr) {
    request.text = TRY(take_text(body, "prompt"));
  } else if (body.get("messages") != nullptr) {
    request.chat = TRY(parse_conversation(body, context));
  } else if (body.get("content") != nullptr) {
    request.dialect = TokenizeDialect::kLlama;
    request.text = TRY(take_text(body, "content"));
  } else {
    return Error{ErrorCode::kMissingField, "prompt, messages or content is required", "prompt"};
  }
  TRY(resolve_model(body, context));
  if (request.dialect == TokenizeDialect::kLlama) {
    request.add_special = TRY(read_bool(body, "add_special", false));
    request.parse_special = TRY(read_bool(body, "parse_special", true));
    request.with_pieces = TRY(read_bool(body, "with_pieces", false));
  } else {
    request.add_special = TRY(read_bool(body, "add_special_tokens", !request.chat.has_value()));
    request.with_pieces = TRY(read_bool(body, "return_token_strs", false));
  }
  return request;
}

Result<DetokenizeRequest> parse_detokenize(const Json& body, const ParseContext& context) {
  if (!body.is_object()) return Error{ErrorCode::kInvalidValue, "the body must be a JSON object", ""};
  TRY(resolve_model(body, context));
  const Json* tokens = body.get("tokens");
  if (tokens == nullptr) return Error{ErrorCode::kMissingField, "tokens is required", "tokens"};
  Field field{.name = "tokens", .type = FieldType::kTokenIds, .limit = LimitId::kJsonNodes};
  TRY(check_field(field, *tokens, context));
  DetokenizeRequest request;
  request.tokens.reserve(tokens->size());
  for (const Json& id : tokens->as_array()) request.tokens.push_back(static_cast<TokenId>(id.as_int()));
  return request;
}

TokenizeReply::TokenizeReply(const TokenizeRequest& request, std::vector<TokenId> tokens, int64_t max_len,
                             BytesOf bytes_of)
    : dialect_(request.dialect),
      with_pieces_(request.with_pieces),
      tokens_(std::move(tokens)),
      max_len_(max_len),
      bytes_of_(std::move(bytes_of)) {}

// One entry of the list that is being written.
void TokenizeReply::append_item(std::string& out, TokenId id) const {
  bool with_piece = with_pieces_ && (part_ == Part::kPieces || dialect_ == TokenizeDialect::kLlama);
  if (!with_piece) {
    fmt::format_to(std::back_inserter(out), "{}", id);
    return;
  }
  std::string_view piece = bytes_of_(id);
  if (dialect_ == TokenizeDialect::kVllm) {
    append_json_lossy(out, piece);
    return;
  }
  fmt::format_to(std::back_inserter(out), R"({{"id":{},"piece":)", id);
  if (is_utf8(piece)) {
    append_json_string(out, piece);
  } else {
    std::vector<TokenId> bytes;
    for (char c : piece) bytes.push_back(static_cast<uint8_t>(c));
    append_ids(out, bytes);
  }
  out += '}';
}

void TokenizeReply::append_items(std::string& out, size_t max_bytes) {
  while (next_ < tokens_.size()) {
    if (next_ > 0) out += ',';
    append_item(out, tokens_[next_++]);
    if (out.size() >= max_bytes) return;
  }
}

bool TokenizeReply::append(std::string& out, size_t max_bytes) {
  bool vllm = dialect_ == TokenizeDialect::kVllm;
  if (part_ == Part::kHead) {
    if (vllm) {
      fmt::format_to(std::back_inserter(out), R"({{"count":{},"max_model_len":{},"tokens":[)", tokens_.size(),
                     max_len_);
    } else {
      out += R"({"tokens":[)";
    }
    part_ = Part::kIds;
  }
  if (part_ == Part::kIds) {
    append_items(out, max_bytes);
    if (next_ < tokens_.size()) return true;
    next_ = 0;
    out += vllm ? R"(],"token_strs":)" : "]}";
    if (vllm) out += with_pieces_ ? "[" : "null}";
    part_ = vllm && with_pieces_ ? Part::kPieces : Part::kDone;
  }
  if (part_ == Part::kPieces) {
    append_items(out, max_bytes);
    if (next_ < tokens_.size()) return true;
    out += "]}";
    part_ = Part::kDone;
  }
  return false;
}

DetokenizeReply::DetokenizeReply(const text::Tokenizer& tokenizer, std::vector<TokenId> tokens, std::string_view key)
    : detokenizer_(tokenizer, false), tokens_(std::move(tokens)), key_(key) {}

bool DetokenizeReply::append(std::string& out, size_t max_bytes) {
  std::string text;
  bool first = next_ == 0;
  while (next_ < tokens_.size() && text.size() < max_bytes) text += detokenizer_.push(tokens_[next_++]);
  bool last = next_ == tokens_.size();
  if (last) text += detokenizer_.finish();
  size_t begin = out.size();
  append_json_string(out, text);
  out.pop_back();  // the closing quote
  out.replace(begin, 1, first ? fmt::format("{{\"{}\":\"", key_) : "");
  if (last) out += R"("})";
  return !last;
}

}  // namespace millrace::api
