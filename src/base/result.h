// Result<T>: a value or an Error. Anything that a user, a file or the network can cause is returned as an Error;
// CHECK (base/macros.h) is for our own bugs only. The names of the codes are part of the HTTP API (`error.code`).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace millrace {

// Persistent: the slugs appear in HTTP replies and logs. Add rows, never rename one.
enum class ErrorCode : uint8_t {
  kInternal,
  // requests (HTTP 400 unless src/api/errors.cc says otherwise)
  kInvalidValue,
  kMissingField,
  kUnknownField,
  kUnsupportedParameter,
  kInvalidJson,
  kDuplicateKey,
  kInvalidTemplate,
  kEmptyPrompt,
  kTooManyPrompts,
  kTokenOutOfRange,
  kChatTemplateDisabled,
  kTokenizerLimit,
  kInvalidSchema,
  kInvalidGrammar,
  kInvalidRegex,
  kConflictingConstraints,
  kConstraintTooCostly,
  kNoTokenAllowed,
  kContextLengthExceeded,
  kInvalidApiKey,
  kAdminKeyRequired,
  kRouteDisabled,
  kModelNotFound,
  kRouteNotFound,
  kMethodNotAllowed,
  kRequestTimeout,
  kLengthRequired,
  kUriTooLong,
  kExpectationFailed,
  kHeadersTooLarge,
  kHttpVersion,
  kRequestTooLarge,
  kUnsupportedMediaType,
  kSlowReader,
  kRateLimitExceeded,
  kKeyConcurrency,
  kNotSupported,
  kQueueFull,
  kConstraintQueueFull,
  kLoading,
  kDraining,
  kEngineDead,
  kMemoryPressure,
  kDeadlineUnreachable,
  kKvExhausted,
  kDeadlineExceeded,
  kCancelled,
  // the machine and the command line
  kUsage,     // exit 2
  kBadFile,   // exit 3: a model, tokenizer or template file that cannot be used
  kNotFound,  // exit 3: no such file or model reference
  kResource,  // exit 4: memory, port, CPU feature
  kIo,        // exit 1
};

// The slug of a code, for example "context_length_exceeded".
std::string_view error_slug(ErrorCode code);

// message says what, where, got and wanted; param is the JSON path, flag or tensor name it is about (may be empty).
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  std::string param;
};

// Aborts with the message of the error: value() on an error is our own bug.
[[noreturn]] void fail_on_error(const Error& error);

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & {
    require();
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    require();
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    require();
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return *std::get_if<1>(&state_); }
  Error&& take_error() { return std::move(*std::get_if<1>(&state_)); }

 private:
  void require() const {
    if (!ok()) fail_on_error(error());
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : failed_(true), error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return !failed_; }
  explicit operator bool() const { return ok(); }
  void value() const {
    if (failed_) fail_on_error(error_);
  }
  const Error& error() const { return error_; }
  Error&& take_error() { return std::move(error_); }

 private:
  bool failed_ = false;
  Error error_;
};

// User text for an error message: control characters escaped, cut to max_bytes at a UTF-8 border.
std::string quote_for_message(std::string_view text, size_t max_bytes = 64);

}  // namespace millrace
