#include "server/stream_writer.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace millrace::server {

namespace {

constexpr uint32_t kMostInterval = 1024;  // what is held back is held in memory

// Adds what follows to what is held of the same choice.
void join(instance::ChoiceDelta& held, instance::ChoiceDelta&& next) {
  held.text += next.text;
  held.reasoning += next.reasoning;
  std::move(next.logprobs.begin(), next.logprobs.end(), std::back_inserter(held.logprobs));
  held.token_ids.insert(held.token_ids.end(), next.token_ids.begin(), next.token_ids.end());
  held.n_output = next.n_output;
  held.finish = std::move(next.finish);
  held.timings = next.timings;
}

bool same_kind(const instance::ChoiceDelta& a, const instance::ChoiceDelta& b) {
  return !a.call && !b.call && (a.text.empty() || b.reasoning.empty()) && (a.reasoning.empty() || b.text.empty());
}

}  // namespace

StreamWriter::StreamWriter(const instance::Session& session, const api::ReplyHead& head, api::ReplyFormat& format,
                           uint32_t interval)
    : session_(&session),
      format_(&format),
      view_{.head = head, .params = session.job().params(), .prompts = {}, .n_choices = 0, .usage = {}},
      interval_(static_cast<uint32_t>(
          std::clamp<int64_t>(session.job().params().stream.interval, interval, std::max(interval, kMostInterval)))) {}

// The prompts and their number are known once the first token is.
void StreamWriter::begin() {
  started_ = true;
  view_.prompts = session_->prompts();
  view_.n_choices = session_->n_choices();
  n_output_.assign(view_.n_choices, 0);
  held_.resize(view_.n_choices);
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
    if (interval_ > 1 && hold(delta)) continue;
    write_one(delta);
  }
}

// True when the delta waits; else what was held has been written, and the delta is to be.
bool StreamWriter::hold(const instance::ChoiceDelta& delta) {
  instance::ChoiceDelta& held = held_[delta.choice];
  const bool any = held.n_output > 0;
  if (any && !same_kind(held, delta)) {
    write_one(held);
    held = {};
  }
  const bool first = n_output_[delta.choice] == 0 && held.n_output == 0;
  if (first || delta.call) return false;
  if (held.n_output == 0) {
    held = delta;
  } else {
    join(held, instance::ChoiceDelta(delta));
  }
  if (!held.finish && held.n_output < n_output_[delta.choice] + interval_) return true;
  write_one(held);
  held = {};
  return true;
}

void StreamWriter::write_one(const instance::ChoiceDelta& delta) {
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
  for (instance::ChoiceDelta& held : held_) {
    if (held.n_output > 0) write_one(held);
  }
  format_->fail(events_, error);
}

void StreamWriter::keep_alive() { events_ += format_->keep_alive(); }

std::string StreamWriter::take() {
  n_tokens_ = 0;
  return std::exchange(events_, {});
}

}  // namespace millrace::server
