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

Result<std::string> read_text(const Json& value, std::string_view name) {
  if (!value.is_string()) return bad(name, "a string");
  return value.as_string();
}

// The template side of a body with messages: the same checks as /v1/chat/completions.
Result<ChatRequest> read_chat(const Json& body, const ParseContext& context) {
  Json fields = Json::object();
  for (std::string_view name : {"model", "messages", "add_generation_prompt", "continue_final_message", "chat_template",
                                "chat_template_kwargs", "tools"}) {
    if (const Json* value = body.get(name)) fields.set(name, *value);
  }
  return parse_chat(fields, context);
}

}  // namespace

Result<TokenizeRequest> parse_tokenize(const Json& body, const ParseContext& context) {
  if (!body.is_object()) return Error{ErrorCode::kInvalidValue, "the body must be a JSON object", ""};
  TokenizeRequest request;
  if (const Json* prompt = body.get("prompt")) {
    request.text = TRY(read_text(*prompt, "prompt"));
  } else if (body.get("messages") != nullptr) {
    request.chat = TRY(read_chat(body, context));
  } else if (const Json* content = body.get("content")) {
    request.dialect = TokenizeDialect::kLlama;
    request.text = TRY(read_text(*content, "content"));
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

std::string tokenize_reply(const TokenizeRequest& request, const std::vector<TokenId>& tokens,
                           const std::vector<std::string>& pieces, int64_t max_len) {
  std::string out;
  auto append_pieces = [&](auto append_one) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i) out += ',';
      append_one(i);
    }
  };
  if (request.dialect == TokenizeDialect::kVllm) {
    fmt::format_to(std::back_inserter(out), R"({{"count":{},"max_model_len":{},"tokens":)", tokens.size(), max_len);
    append_ids(out, tokens);
    out += R"(,"token_strs":)";
    if (request.with_pieces) {
      out += '[';
      append_pieces([&](size_t i) { append_json_lossy(out, pieces[i]); });
      out += ']';
    } else {
      out += "null";
    }
    out += '}';
    return out;
  }
  out += R"({"tokens":)";
  if (!request.with_pieces) {
    append_ids(out, tokens);
    return out + '}';
  }
  out += '[';
  append_pieces([&](size_t i) {
    fmt::format_to(std::back_inserter(out), R"({{"id":{},"piece":)", tokens[i]);
    if (is_utf8(pieces[i])) {
      append_json_string(out, pieces[i]);
    } else {
      std::vector<TokenId> bytes;
      for (char c : pieces[i]) bytes.push_back(static_cast<uint8_t>(c));
      append_ids(out, bytes);
    }
    out += '}';
  });
  return out + "]}";
}

std::string detokenize_reply(std::string_view text, TokenizeDialect dialect) {
  std::string out = dialect == TokenizeDialect::kVllm ? R"({"prompt":)" : R"({"content":)";
  append_json_lossy(out, text);
  return out + '}';
}

}  // namespace millrace::api
