#include "api/errors.h"

#include <array>

#include "api/error_slugs.h"
#include "api/json_text.h"
#include "base/json.h"

namespace millrace::api {
namespace {

using Code = ErrorCode;
using Retry = RetryPolicy;

constexpr std::string_view kInvalidRequest = "invalid_request_error";
constexpr std::string_view kBadRequest = "BadRequestError";

constexpr ErrorRow bad_request(Code code) {
  return {code, 400, kInvalidRequest, kBadRequest, kInvalidRequest, Retry::kNone};
}
constexpr ErrorRow framing(Code code, int status, std::string_view phrase, Retry retry = Retry::kNone) {
  return {code, status, kInvalidRequest, phrase, kInvalidRequest, retry};
}
constexpr ErrorRow unavailable(Code code) {
  return {code, 503, "server_error", "ServiceUnavailableError", "unavailable_error", Retry::kRetryAfter};
}

// API.md section 5. The first row also serves the codes of files and the command line.
constexpr std::array kRows = {
    ErrorRow{Code::kInternal, 500, "server_error", "InternalServerError", "server_error", Retry::kRetry},
    bad_request(Code::kInvalidValue),
    bad_request(Code::kMissingField),
    bad_request(Code::kUnknownField),
    bad_request(Code::kUnsupportedParameter),
    bad_request(Code::kInvalidJson),
    bad_request(Code::kDuplicateKey),
    bad_request(Code::kInvalidTemplate),
    bad_request(Code::kEmptyPrompt),
    bad_request(Code::kTooManyPrompts),
    bad_request(Code::kTokenOutOfRange),
    bad_request(Code::kChatTemplateDisabled),
    bad_request(Code::kTokenizerLimit),
    bad_request(Code::kInvalidSchema),
    bad_request(Code::kInvalidGrammar),
    bad_request(Code::kInvalidRegex),
    bad_request(Code::kConflictingConstraints),
    bad_request(Code::kConstraintTooCostly),
    bad_request(Code::kNoTokenAllowed),
    ErrorRow{Code::kContextLengthExceeded, 400, kInvalidRequest, kBadRequest, "exceed_context_size_error",
             Retry::kNone},
    ErrorRow{Code::kInvalidApiKey, 401, "authentication_error", "Unauthorized", "authentication_error", Retry::kNone},
    ErrorRow{Code::kAdminKeyRequired, 403, "permission_error", "Forbidden", "permission_error", Retry::kNone},
    ErrorRow{Code::kRouteDisabled, 403, "permission_error", "Forbidden", "permission_error", Retry::kNone},
    ErrorRow{Code::kModelNotFound, 404, kInvalidRequest, "NotFoundError", "not_found_error", Retry::kNone},
    ErrorRow{Code::kRouteNotFound, 404, kInvalidRequest, "NotFoundError", "not_found_error", Retry::kNone},
    framing(Code::kMethodNotAllowed, 405, "Method Not Allowed"),
    framing(Code::kRequestTimeout, 408, "Request Timeout", Retry::kRetry),
    framing(Code::kLengthRequired, 411, "Length Required"),
    framing(Code::kUriTooLong, 414, "URI Too Long"),
    framing(Code::kExpectationFailed, 417, "Expectation Failed"),
    framing(Code::kHeadersTooLarge, 431, "Request Header Fields Too Large"),
    framing(Code::kHttpVersion, 505, "HTTP Version Not Supported", Retry::kDoNotRetry),
    framing(Code::kRequestTooLarge, 413, "Payload Too Large"),
    framing(Code::kUnsupportedMediaType, 415, "Unsupported Media Type"),
    framing(Code::kSlowReader, 408, "Request Timeout", Retry::kRetry),
    ErrorRow{Code::kRateLimitExceeded, 429, "rate_limit_error", "Too Many Requests", "unavailable_error",
             Retry::kRetryAfter},
    ErrorRow{Code::kKeyConcurrency, 429, "rate_limit_error", "Too Many Requests", "unavailable_error",
             Retry::kRetryAfter},
    ErrorRow{Code::kNotSupported, 501, "not_supported_error", "NotImplementedError", "not_supported_error",
             Retry::kDoNotRetry},
    unavailable(Code::kQueueFull),
    unavailable(Code::kConstraintQueueFull),
    unavailable(Code::kLoading),
    unavailable(Code::kDraining),
    unavailable(Code::kEngineDead),
    unavailable(Code::kMemoryPressure),
    unavailable(Code::kDeadlineUnreachable),
    unavailable(Code::kKvExhausted),
    ErrorRow{Code::kDeadlineExceeded, 504, "server_error", "Gateway Timeout", "server_error", Retry::kDoNotRetry},
    ErrorRow{Code::kCancelled, 409, kInvalidRequest, "Conflict", kInvalidRequest, Retry::kDoNotRetry},
};

bool of_machine(Code code) {
  return code == Code::kUsage || code == Code::kBadFile || code == Code::kNotFound || code == Code::kResource ||
         code == Code::kIo;
}

std::string_view anthropic_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 529:
      return "overloaded_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

std::string_view tgi_type(int status) {
  if (status == 422) return "validation";
  if (status == 429) return "overloaded";
  return status == 503 ? "healthcheck" : "generation";
}

// The bodies that have no `error` object of OpenAI's kind; false when this style has.
bool append_plain_error(std::string& out, const ApiError& error, ErrorStyle style) {
  int status = error_status(error.error.code, style);
  if (style == ErrorStyle::kAnthropic) {
    out += R"({"type":"error","error":{"type":)";
    append_json_string(out, anthropic_type(status));
    out += R"(,"message":)";
    append_json_lossy(out, error.error.message);
    out += "}}";
    return true;
  }
  if (style != ErrorStyle::kOllama && style != ErrorStyle::kTgi && style != ErrorStyle::kKserve) return false;
  out += R"({"error":)";
  append_json_lossy(out, error.error.message);
  if (style == ErrorStyle::kTgi) {
    out += R"(,"error_type":)";
    append_json_string(out, tgi_type(status));
  }
  out += '}';
  return true;
}

// What is not found has two slugs: a model, and by these members a response.
std::string_view slug_of(const Error& error, const ErrorRow& row) {
  bool response = error.param == "previous_response_id" || error.param == "response_id";
  return response && row.code == ErrorCode::kModelNotFound ? kResponseNotFound : error_slug(row.code);
}

void append_error(std::string& out, const ApiError& error, ErrorStyle style) {
  if (append_plain_error(out, error, style)) return;
  const ErrorRow& row = error_row(error.error.code);
  out += R"({"error":{"message":)";
  append_json_lossy(out, error.error.message);  // a message may quote bytes that are not UTF-8
  out += R"(,"type":)";
  switch (style) {
    case ErrorStyle::kOpenAi:
      append_json_string(out, row.type);
      break;
    case ErrorStyle::kVllm:
      append_json_string(out, row.vllm_type);
      break;
    case ErrorStyle::kLlama:
      append_json_string(out, row.llama_type);
      break;
    case ErrorStyle::kAnthropic:
    case ErrorStyle::kOllama:
    case ErrorStyle::kTgi:
    case ErrorStyle::kKserve:
      break;  // append_plain_error()
  }
  out += R"(,"param":)";
  if (error.error.param.empty()) {
    out += "null";
  } else {
    append_json_lossy(out, error.error.param);
  }
  out += R"(,"code":)";
  if (style == ErrorStyle::kOpenAi) {
    append_json_string(out, slug_of(error.error, row));
  } else {
    out += std::to_string(row.status);
  }
  if (error.n_prompt_tokens) out += R"(,"n_prompt_tokens":)" + std::to_string(*error.n_prompt_tokens);
  if (error.n_ctx) out += R"(,"n_ctx":)" + std::to_string(*error.n_ctx);
  out += "}}";
}

}  // namespace

std::span<const ErrorRow> error_table() { return kRows; }

const ErrorRow& error_row(ErrorCode code) {
  if (!of_machine(code)) {
    for (const ErrorRow& row : kRows) {
      if (row.code == code) return row;
    }
  }
  return kRows[0];
}

int error_status(ErrorCode code, ErrorStyle style) {
  int status = error_row(code).status;
  if (style == ErrorStyle::kAnthropic && status == 503) return 529;
  bool inference = style == ErrorStyle::kTgi || style == ErrorStyle::kKserve;
  if (!inference) return status;
  if (status == 400) return 422;
  if (status == 503 && code != ErrorCode::kLoading && code != ErrorCode::kEngineDead) return 429;
  return status == 500 ? 424 : status;
}

ApiError with_lengths(Error error, int64_t n_prompt_tokens, int64_t n_ctx) {
  bool add = error.code == ErrorCode::kContextLengthExceeded;
  ApiError out{std::move(error)};
  if (add) {
    out.n_prompt_tokens = n_prompt_tokens;
    out.n_ctx = n_ctx;
  }
  return out;
}

std::string error_body(const ApiError& error, ErrorStyle style) {
  std::string out;
  append_error(out, error, style);
  return out;
}

std::string error_body(const Error& error, ErrorStyle style) { return error_body(ApiError{error}, style); }

std::string error_event(const ApiError& error, ErrorStyle style) {
  if (style == ErrorStyle::kOllama) return error_body(error, style) + "\n";
  std::string out = style == ErrorStyle::kAnthropic ? "event: error\ndata: " : "data: ";
  append_error(out, error, style);
  out += "\n\n";
  return out;
}

}  // namespace millrace::api
