// ChunkWriter: the events of one stream. The part of a chunk that never changes is rendered once per request; a token
// costs an escape of its text and two copies. Every append_* adds whole SSE events to `out`.
// Order for chat: role chunks of all choices, token chunks, one finish chunk per choice, usage chunk, kDoneEvent.
// Thread: one at a time per stream.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/common.h"
#include "api/output.h"

namespace millrace::api {

constexpr std::string_view kEventPrefix = "data: ";
constexpr std::string_view kEventEnd = "\n\n";
constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";
constexpr std::string_view kKeepAliveEvent = ": keep-alive\n\n";

// What one or more tokens add to a choice.
struct Delta {
  std::string_view text;  // valid UTF-8; of text, reasoning and call one
  std::string_view reasoning = {};
  const CallPiece* call = nullptr;
  std::span<const PositionText> logprobs = {};  // when logprobs were asked for: one per token
  std::span<const TokenId> token_ids = {};      // when return_token_ids
  const Usage* running = nullptr;               // needed with continuous_usage_stats
  const Timings* timings = nullptr;             // null: none
};

class ChunkWriter {
 public:
  // null_role: the content of role chunks is null instead of "".
  ChunkWriter(ReplyKind kind, const ReplyHead& head, const CommonParams& params, bool null_role = false,
              ReasoningField reasoning_field = ReasoningField::kBoth);

  // Chat: one role chunk for each of n choices (nothing for completions). `prompt` may be null; with return_token_ids
  // or return_prompt_text the first chunk of choice 0 carries its ids and text.
  void append_roles(std::string& out, uint32_t n_choices, const PromptOutput* prompt, const Usage* running = nullptr);
  // Completions with return_token_ids or return_prompt_text: the prompt goes on the next chunk of this choice; it must
  // live until then.
  void attach_prompt(uint32_t index, const PromptOutput& prompt);
  void append_delta(std::string& out, uint32_t index, const Delta& delta);
  // finish_reason and stop_reason (present even when null); timings when given.
  void append_finish(std::string& out, uint32_t index, const Finish& finish, const Timings* timings,
                     const Usage* running = nullptr);
  // choices:[], usage; call when include_usage is set, after every finish chunk. timings, metrics: null: no such key.
  void append_usage(std::string& out, const Usage& usage, const Timings* timings = nullptr,
                    const Timings* metrics = nullptr);

 private:
  void open(std::string& out, uint32_t index) const;
  void close(std::string& out, const Usage* running, const Timings* timings = nullptr) const;
  uint64_t& text_offset(uint32_t index);
  void append_pending_prompt(std::string& out, uint32_t index);

  ReplyKind kind_;
  bool with_token_ids_;  // return_token_ids
  bool tokens_as_ids_;   // return_tokens_as_token_ids
  bool with_prompt_text_;
  bool continuous_usage_;
  bool null_role_;
  ReasoningField reasoning_field_;
  std::string prefix_;                                // data: {"id":...,"choices":[{"index":
  std::string usage_prefix_;                          // the same up to "choices":[]
  std::vector<uint64_t> text_offsets_;                // by choice: characters sent (completions logprobs)
  std::vector<const PromptOutput*> pending_prompts_;  // by choice: to go on the next chunk
};

}  // namespace millrace::api
