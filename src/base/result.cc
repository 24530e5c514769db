#include "base/result.h"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace millrace {
namespace {

struct Row {
  ErrorCode code;
  std::string_view slug;
};

constexpr std::array kSlugs = {
    Row{ErrorCode::kInternal, "internal_error"},
    Row{ErrorCode::kInvalidValue, "invalid_value"},
    Row{ErrorCode::kMissingField, "missing_field"},
    Row{ErrorCode::kUnknownField, "unknown_field"},
    Row{ErrorCode::kUnsupportedParameter, "unsupported_parameter"},
    Row{ErrorCode::kInvalidJson, "invalid_json"},
    Row{ErrorCode::kDuplicateKey, "duplicate_key"},
    Row{ErrorCode::kInvalidTemplate, "invalid_template"},
    Row{ErrorCode::kEmptyPrompt, "empty_prompt"},
    Row{ErrorCode::kTooManyPrompts, "too_many_prompts"},
    Row{ErrorCode::kTokenOutOfRange, "token_out_of_range"},
    Row{ErrorCode::kChatTemplateDisabled, "chat_template_disabled"},
    Row{ErrorCode::kTokenizerLimit, "tokenizer_limit"},
    Row{ErrorCode::kInvalidSchema, "invalid_schema"},
    Row{ErrorCode::kInvalidGrammar, "invalid_grammar"},
    Row{ErrorCode::kInvalidRegex, "invalid_regex"},
    Row{ErrorCode::kConflictingConstraints, "conflicting_constraints"},
    Row{ErrorCode::kConstraintTooCostly, "constraint_too_costly"},
    Row{ErrorCode::kNoTokenAllowed, "no_token_allowed"},
    Row{ErrorCode::kContextLengthExceeded, "context_length_exceeded"},
    Row{ErrorCode::kInvalidApiKey, "invalid_api_key"},
    Row{ErrorCode::kAdminKeyRequired, "admin_key_required"},
    Row{ErrorCode::kRouteDisabled, "route_disabled"},
    Row{ErrorCode::kModelNotFound, "model_not_found"},
    Row{ErrorCode::kRouteNotFound, "route_not_found"},
    Row{ErrorCode::kMethodNotAllowed, "method_not_allowed"},
    Row{ErrorCode::kRequestTimeout, "request_timeout"},
    Row{ErrorCode::kLengthRequired, "length_required"},
    Row{ErrorCode::kUriTooLong, "uri_too_long"},
    Row{ErrorCode::kExpectationFailed, "expectation_failed"},
    Row{ErrorCode::kHeadersTooLarge, "headers_too_large"},
    Row{ErrorCode::kHttpVersion, "http_version"},
    Row{ErrorCode::kRequestTooLarge, "request_too_large"},
    Row{ErrorCode::kUnsupportedMediaType, "unsupported_media_type"},
    Row{ErrorCode::kSlowReader, "slow_reader"},
    Row{ErrorCode::kRateLimitExceeded, "rate_limit_exceeded"},
    Row{ErrorCode::kKeyConcurrency, "key_concurrency"},
    Row{ErrorCode::kNotSupported, "not_supported"},
    Row{ErrorCode::kQueueFull, "queue_full"},
    Row{ErrorCode::kConstraintQueueFull, "constraint_queue_full"},
    Row{ErrorCode::kLoading, "loading"},
    Row{ErrorCode::kDraining, "draining"},
    Row{ErrorCode::kEngineDead, "engine_dead"},
    Row{ErrorCode::kMemoryPressure, "memory_pressure"},
    Row{ErrorCode::kDeadlineUnreachable, "deadline_unreachable"},
    Row{ErrorCode::kKvExhausted, "kv_exhausted"},
    Row{ErrorCode::kDeadlineExceeded, "deadline_exceeded"},
    Row{ErrorCode::kCancelled, "cancelled"},
    Row{ErrorCode::kUsage, "usage"},
    Row{ErrorCode::kBadFile, "bad_file"},
    Row{ErrorCode::kNotFound, "not_found"},
    Row{ErrorCode::kResource, "resource"},
    Row{ErrorCode::kIo, "io_error"},
};

}  // namespace

std::string_view error_slug(ErrorCode code) {
  for (const Row& row : kSlugs) {
    if (row.code == code) return row.slug;
  }
  return "internal_error";
}

void fail_on_error(const Error& error) {
  std::fprintf(stderr, "CHECK failed: value() on an error: %s\n", error.message.c_str());
  std::abort();
}

std::string quote_for_message(std::string_view text, size_t max_bytes) {
  constexpr std::string_view kHex = "0123456789abcdef";
  bool cut = text.size() > max_bytes;
  if (cut) {
    text = text.substr(0, max_bytes);
    while (!text.empty() && (static_cast<uint8_t>(text.back()) & 0xC0) == 0x80) text.remove_suffix(1);
    if (!text.empty() && static_cast<uint8_t>(text.back()) >= 0xC0) text.remove_suffix(1);
  }
  std::string out;
  for (char c : text) {
    auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte == 0x7F) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  if (cut) out += "...";
  return out;
}

}  // namespace millrace
