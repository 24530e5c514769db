// ReplyFormat: how the answer to one request is written, whole or as a stream, in the dialect it was asked in. The
// parser of a dialect makes one object for each request; server feeds it and never looks inside.
//  1. begin() once, before the first piece(); then pieces in the engine's order; then end() or fail(), once.
//  2. Nothing is written before the first token exists: begin() is called together with the first piece.
// Thread: one at a time per request.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/common.h"
#include "api/errors.h"
#include "api/output.h"

namespace millrace::api {

// How the server wants every answer: its switches, not the request's.
struct FormatOptions {
  ErrorStyle error_style = ErrorStyle::kOpenAi;
  bool force_include_usage = false;
  bool timings = true;
  bool timings_on_usage = false;  // streams repeat them on the usage chunk
  bool metrics = false;           // the times of a request, on /v1, with n = 1
  bool null_role = false;         // role chunks have content null
  ReasoningField reasoning_field = ReasoningField::kBoth;
};

// A stream as its writer sees it. References outlive the stream; usage is that of the tokens written so far.
struct StreamView {
  const ReplyHead& head;
  const CommonParams& params;
  std::span<const PromptOutput> prompts;
  uint32_t n_choices = 0;
  Usage usage;

  // Choice index = prompt index x n + k.
  const PromptOutput& prompt_of(uint32_t choice) const { return prompts[choice / params.n]; }
};

// What one or more tokens, or the end, add to a choice. Text is valid UTF-8 and may be empty.
struct Piece {
  uint32_t choice = 0;
  std::string_view text;  // content; of text, reasoning and call at most one is there
  std::string_view reasoning;
  const CallPiece* call = nullptr;
  std::span<const PositionText> logprobs;
  std::span<const TokenId> token_ids;
  uint32_t n_output = 0;             // output tokens of the choice so far
  const Finish* finish = nullptr;    // on the last piece of a choice
  const Timings* timings = nullptr;  // never null; filled beside finish, and always under timings_per_token
};

constexpr std::string_view kEventStreamType = "text/event-stream; charset=utf-8";
constexpr std::string_view kJsonType = "application/json";
constexpr std::string_view kBinaryType = "application/octet-stream";

// What a dialect says of its reply before the body.
struct ReplyHeaders {
  std::string_view content_type = kJsonType;
  std::vector<std::pair<std::string, std::string>> more;
};

class ReplyFormat {
 public:
  virtual ~ReplyFormat() = default;

  // Of the reply's id: "chatcmpl-".
  virtual std::string_view id_prefix() const = 0;
  virtual ErrorStyle error_style() const = 0;

  // An aborted answer is given as far as it came, with FinishKind::kAbort; else it fails with an error.
  virtual bool tells_abort() const { return false; }

  virtual std::string whole(const ReplyParts& parts) = 0;
  // Of what whole() wrote last.
  virtual ReplyHeaders whole_headers() const { return {}; }

  virtual ReplyHeaders stream_headers() const { return {.content_type = kEventStreamType, .more = {}}; }
  virtual void begin(std::string& out, const StreamView& view) = 0;
  virtual void piece(std::string& out, const StreamView& view, const Piece& piece) = 0;
  virtual void end(std::string& out, const StreamView& view) = 0;
  virtual void fail(std::string& out, const ApiError& error) = 0;
  // What is sent into a silence; empty: nothing may be.
  virtual std::string_view keep_alive() const { return ": keep-alive\n\n"; }
};

}  // namespace millrace::api
