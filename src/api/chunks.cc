#include "api/chunks.h"

#include <fmt/core.h>

#include <iterator>

#include "api/json_text.h"
#include "base/json.h"

namespace millrace::api {

ChunkWriter::ChunkWriter(ReplyKind kind, const ReplyHead& head, const CommonParams& params, bool null_role,
                         ReasoningField reasoning_field)
    : kind_(kind),
      with_token_ids_(params.output.return_token_ids),
      tokens_as_ids_(params.output.return_tokens_as_token_ids),
      with_prompt_text_(params.output.return_prompt_text),
      continuous_usage_(params.stream.continuous_usage_stats),
      null_role_(null_role),
      reasoning_field_(reasoning_field) {
  prefix_ = kEventPrefix;
  prefix_ += R"({"id":)";
  append_json_string(prefix_, head.id);
  prefix_ += kind == ReplyKind::kChat ? R"(,"object":"chat.completion.chunk","created":)"
                                      : R"(,"object":"text_completion","created":)";
  fmt::format_to(std::back_inserter(prefix_), R"({},"model":)", head.created);
  append_json_string(prefix_, head.model);
  prefix_ += R"(,"system_fingerprint":)";
  if (head.system_fingerprint.empty()) {
    prefix_ += "null";
  } else {
    append_json_string(prefix_, head.system_fingerprint);
  }
  prefix_ += R"(,"choices":[)";
  usage_prefix_ = prefix_ + R"(],"usage":)";
  prefix_ += R"({"index":)";
}

void ChunkWriter::open(std::string& out, uint32_t index) const {
  out += prefix_;
  fmt::format_to(std::back_inserter(out), "{}", index);
}

void ChunkWriter::close(std::string& out, const Usage* running, const Timings* timings) const {
  if (timings != nullptr) {
    out += R"(,"timings":)";
    append_timings_object(out, *timings);
  }
  if (continuous_usage_ && running != nullptr) {
    out += R"(,"usage":)";
    append_usage_object(out, *running);
  }
  out += '}';
  out += kEventEnd;
}

uint64_t& ChunkWriter::text_offset(uint32_t index) {
  if (text_offsets_.size() <= index) text_offsets_.resize(index + size_t{1}, 0);
  return text_offsets_[index];
}

void ChunkWriter::append_roles(std::string& out, uint32_t n_choices, const PromptOutput* prompt, const Usage* running) {
  if (kind_ != ReplyKind::kChat) return;
  for (uint32_t index = 0; index < n_choices; ++index) {
    open(out, index);
    out += null_role_ ? R"(,"delta":{"role":"assistant","content":null},"logprobs":null,"finish_reason":null}])"
                      : R"(,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}])";
    if (prompt != nullptr && index == 0) {
      if (with_token_ids_) {
        out += R"(,"prompt_token_ids":)";
        append_ids(out, prompt->token_ids);
      }
      if (with_prompt_text_) {
        out += R"(,"prompt_text":)";
        append_json_lossy(out, prompt->text);
      }
    }
    close(out, running);
  }
}

void ChunkWriter::attach_prompt(uint32_t index, const PromptOutput& prompt) {
  if (pending_prompts_.size() <= index) pending_prompts_.resize(index + size_t{1}, nullptr);
  pending_prompts_[index] = &prompt;
}

void ChunkWriter::append_pending_prompt(std::string& out, uint32_t index) {
  if (index >= pending_prompts_.size() || pending_prompts_[index] == nullptr) return;
  const PromptOutput& prompt = *std::exchange(pending_prompts_[index], nullptr);
  if (with_token_ids_) {
    out += R"(,"prompt_token_ids":)";
    append_ids(out, prompt.token_ids);
  }
  if (with_prompt_text_) {
    out += R"(,"prompt_text":)";
    append_json_lossy(out, prompt.text);
  }
}

void ChunkWriter::append_delta(std::string& out, uint32_t index, const Delta& delta) {
  bool chat = kind_ == ReplyKind::kChat;
  open(out, index);
  if (chat) {
    out += R"(,"delta":{)";
    if (delta.call != nullptr) {
      append_call_piece(out, *delta.call);
    } else if (!delta.reasoning.empty()) {
      append_reasoning_keys(out, delta.reasoning, reasoning_field_);
    } else {
      out += R"("content":)";
      append_json_string(out, delta.text);
    }
    out += '}';
  } else {
    out += R"(,"text":)";
    append_json_string(out, delta.text);
  }
  out += R"(,"logprobs":)";
  if (delta.logprobs.empty()) {
    out += "null";
  } else if (chat) {
    append_chat_logprobs(out, delta.logprobs, tokens_as_ids_);
  } else {
    append_completion_logprobs(out, delta.logprobs, tokens_as_ids_, text_offset(index));
  }
  out += chat ? R"(,"finish_reason":null)" : R"(,"finish_reason":null,"stop_reason":null)";
  if (with_token_ids_) {
    out += R"(,"token_ids":)";
    append_ids(out, delta.token_ids);
  }
  append_pending_prompt(out, index);
  out += "}]";
  close(out, delta.running, delta.timings);
}

void ChunkWriter::append_finish(std::string& out, uint32_t index, const Finish& finish, const Timings* timings,
                                const Usage* running) {
  open(out, index);
  out += kind_ == ReplyKind::kChat ? R"(,"delta":{},"logprobs":null,)" : R"(,"text":"","logprobs":null,)";
  append_finish_keys(out, finish);
  append_pending_prompt(out, index);
  out += "}]";
  close(out, running, timings);
}

void ChunkWriter::append_usage(std::string& out, const Usage& usage, const Timings* timings, const Timings* metrics) {
  out += usage_prefix_;
  append_usage_object(out, usage);
  if (timings != nullptr) {
    out += R"(,"timings":)";
    append_timings_object(out, *timings);
  }
  if (metrics != nullptr) {
    out += R"(,"metrics":)";
    append_metrics_object(out, *metrics);
  }
  out += '}';
  out += kEventEnd;
}

}  // namespace millrace::api
