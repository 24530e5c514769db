#include "server/stream_writer.h"

#include <utility>

namespace millrace::server {

StreamWriter::StreamWriter(const instance::Session& session, const api::ReplyHead& head, StreamOptions options)
    : session_(&session),
      params_(&session.job().params()),
      options_(options),
      kind_(session.job().is_chat() ? api::ReplyKind::kChat : api::ReplyKind::kCompletion),
      chunks_(kind_, head, session.job().params()) {}

const api::Usage* StreamWriter::running_usage(const instance::ChoiceDelta& delta) {
  running_ = session_->usage();
  running_.completion_tokens = 0;
  n_output_[delta.choice] = delta.n_output;
  for (uint32_t n : n_output_) running_.completion_tokens += n;
  return &running_;
}

void StreamWriter::begin() {
  started_ = true;
  uint32_t n_choices = session_->n_choices();
  n_output_.assign(n_choices, 0);
  begun_.assign(n_choices, false);
  const auto& prompts = session_->prompts();
  if (kind_ == api::ReplyKind::kChat) {
    running_ = session_->usage();
    running_.completion_tokens = 0;
    chunks_.append_roles(events_, n_choices, prompts.empty() ? nullptr : &prompts.front(), &running_);
    return;
  }
  if (!params_->output.return_token_ids) return;
  for (uint32_t i = 0; i < n_choices; ++i) chunks_.attach_prompt(i, prompts[session_->prompt_of_choice(i)]);
}

// With echo, the prompt comes first.
void StreamWriter::begin_choice(uint32_t choice) {
  begun_[choice] = true;
  if (!params_->output.echo) return;
  const api::PromptOutput& prompt = session_->prompts()[session_->prompt_of_choice(choice)];
  api::Delta delta;
  delta.text = prompt.text;
  if (params_->sampling.n_logprobs >= 0) delta.logprobs = prompt.logprobs;
  delta.running = &running_;
  chunks_.append_delta(events_, choice, delta);
}

void StreamWriter::write(const std::vector<instance::ChoiceDelta>& deltas) {
  for (const instance::ChoiceDelta& from : deltas) {
    if (!started_) begin();
    const api::Usage* running = running_usage(from);
    if (!begun_[from.choice]) begin_choice(from.choice);
    if (!from.text.empty() || !from.token_ids.empty()) {
      api::Delta delta;
      delta.text = from.text;
      delta.logprobs = from.logprobs;
      delta.token_ids = from.token_ids;
      delta.running = running;
      // Tokens without text (the end token) matter only to those who asked for ids or logprobs.
      bool shown = !from.text.empty() || !from.logprobs.empty() || params_->output.return_token_ids;
      if (shown) chunks_.append_delta(events_, from.choice, delta);
      n_tokens_ += static_cast<uint32_t>(from.token_ids.size());
    }
    if (from.finish) {
      chunks_.append_finish(events_, from.choice, *from.finish, options_.timings ? &from.timings : nullptr, running);
    }
  }
}

void StreamWriter::finish() {
  if (ended_) return;
  ended_ = true;
  if (params_->stream.include_usage || options_.force_include_usage) chunks_.append_usage(events_, session_->usage());
  events_ += api::kDoneEvent;
}

void StreamWriter::fail(const api::ApiError& error) {
  if (ended_) return;
  ended_ = true;
  events_ += api::error_event(error, options_.error_style);
  events_ += api::kDoneEvent;
}

void StreamWriter::keep_alive() { events_ += api::kKeepAliveEvent; }

std::string StreamWriter::take() {
  n_tokens_ = 0;
  return std::exchange(events_, {});
}

}  // namespace millrace::server
