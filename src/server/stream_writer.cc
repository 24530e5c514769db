#include "server/stream_writer.h"

#include <utility>

namespace millrace::server {

StreamWriter::StreamWriter(const instance::Session& session, const api::ReplyHead& head, api::ReplyFormat& format)
    : session_(&session),
      format_(&format),
      view_{.head = head, .params = session.job().params(), .prompts = {}, .n_choices = 0, .usage = {}} {}

// The prompts and their number are known once the first token is.
void StreamWriter::begin() {
  started_ = true;
  view_.prompts = session_->prompts();
  view_.n_choices = session_->n_choices();
  n_output_.assign(view_.n_choices, 0);
  view_.usage = session_->usage();
  view_.usage.completion_tokens = 0;
  format_->begin(events_, view_);
}

// The usage of what is written, which may be behind what the session has.
void StreamWriter::count(const instance::ChoiceDelta& delta) {
  n_tokens_ += static_cast<uint32_t>(delta.token_ids.size());
  n_output_[delta.choice] = delta.n_output;
  view_.usage = session_->usage();
  view_.usage.completion_tokens = 0;
  for (uint32_t n : n_output_) view_.usage.completion_tokens += n;
}

void StreamWriter::write(const std::vector<instance::ChoiceDelta>& deltas) {
  for (const instance::ChoiceDelta& delta : deltas) {
    if (!started_) begin();
    count(delta);
    api::Piece piece{.choice = delta.choice,
                     .text = delta.text,
                     .reasoning = delta.reasoning,
                     .call = delta.call ? &*delta.call : nullptr,
                     .logprobs = delta.logprobs,
                     .token_ids = delta.token_ids,
                     .n_output = delta.n_output,
                     .timings = &delta.timings};
    if (delta.finish) piece.finish = &*delta.finish;
    format_->piece(events_, view_, piece);
  }
}

void StreamWriter::finish() {
  if (ended_) return;
  ended_ = true;
  if (!started_) begin();
  view_.usage = session_->usage();
  format_->end(events_, view_);
}

void StreamWriter::fail(const api::ApiError& error) {
  if (ended_) return;
  ended_ = true;
  format_->fail(events_, error);
}

void StreamWriter::keep_alive() { events_ += format_->keep_alive(); }

std::string StreamWriter::take() {
  n_tokens_ = 0;
  return std::exchange(events_, {});
}

}  // namespace millrace::server
