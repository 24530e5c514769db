// Error replies: one table from ErrorCode to HTTP status, error type and retry headers, and the envelopes of the
// three error styles. Messages are written where the error is found; this file only wraps them.
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::api {

// kOpenAi: code is the slug; kVllm, kLlama: code is the HTTP status (these three: --error-style). The others are those
// of dialects: Anthropic {type, error{type, message}}, TGI {error, error_type}, Ollama and KServe {error}.
enum class ErrorStyle : uint8_t { kOpenAi, kVllm, kLlama, kAnthropic, kOllama, kTgi, kKserve };

enum class RetryPolicy : uint8_t {
  kNone,        // no header: clients do not retry these statuses
  kRetry,       // no header: clients retry by themselves
  kRetryAfter,  // Retry-After and retry-after-ms, filled by the server (seconds in 1..60)
  kDoNotRetry,  // x-should-retry: false
};

struct ErrorRow {
  ErrorCode code;
  int status;             // HTTP
  std::string_view type;  // OpenAI error.type
  std::string_view vllm_type;
  std::string_view llama_type;
  RetryPolicy retry;
};

std::span<const ErrorRow> error_table();
// The row of a code; codes of the machine and command line map to the row of kInternal.
const ErrorRow& error_row(ErrorCode code);

// An error with the lengths that context_length_exceeded adds to the body in every style, and when to come again.
struct ApiError {
  Error error;
  std::optional<int64_t> n_prompt_tokens = std::nullopt;
  std::optional<int64_t> n_ctx = std::nullopt;
  std::optional<int64_t> retry_after_s = std::nullopt;  // with RetryPolicy::kRetryAfter: known better than by the load
};
// The HTTP status of an error in a style: TGI and KServe say 422, 424 and 429, Anthropic 529.
int error_status(ErrorCode code, ErrorStyle style);

// Sets the lengths when the code is kContextLengthExceeded.
ApiError with_lengths(Error error, int64_t n_prompt_tokens, int64_t n_ctx);

// {"error":{"message","type","param","code"}}
std::string error_body(const ApiError& error, ErrorStyle style);
std::string error_body(const Error& error, ErrorStyle style);
// data: {"error":{...}} + two line feeds (Anthropic: behind event: error; Ollama: a line): a failure after a stream has
// begun ([DONE] follows, see output.h).
std::string error_event(const ApiError& error, ErrorStyle style);

}  // namespace millrace::api
