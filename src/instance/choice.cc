#include "instance/choice.h"

#include <algorithm>
#include <utility>

#include "instance/token_text.h"

namespace millrace::instance {
namespace {

constexpr size_t kPrimeTokens = 16;  // enough of the prompt to know that the answer does not begin a text

// A stop string began inside this token: it shows what was released of it.
void cut_text(api::PositionText& position, uint64_t n_bytes) {
  if (position.chosen.text.size() <= n_bytes) return;
  position.chosen.text.resize(n_bytes);
  for (api::TokenText& entry : position.top) {
    if (entry.id == position.chosen.id) entry.text = position.chosen.text;
  }
}

}  // namespace

Choice::Choice(const text::Tokenizer& tokenizer, const api::CommonParams& params, std::span<const TokenId> prompt,
               uint32_t index)
    : tokenizer_(&tokenizer),
      detokenizer_(tokenizer, params.output.skip_special_tokens),
      stops_(params.output.stop, params.output.include_stop_str_in_output),
      params_(&params),
      index_(index) {
  detokenizer_.prime(prompt.last(std::min(prompt.size(), kPrimeTokens)));
}

// All of its text is out, and none of its bytes wait for the rest of a character.
bool Choice::may_show(const PendingToken& token) const {
  bool unfinished = &token == &pending_.back() && detokenizer_.holds_bytes();
  return token.end <= released_ && !unfinished;
}

// Hands out text together with the pending tokens that it completes. After a stop string, tokens that lie wholly behind
// the released text belong to what was cut.
void Choice::release(std::string text, bool all_tokens, std::vector<ChoiceDelta>& out) {
  if (text.empty() && (!all_tokens || pending_.empty())) return;
  ChoiceDelta delta;
  delta.choice = index_;
  delta.n_output = n_output_;
  released_ += text.size();
  delta.text = std::move(text);
  size_t n_taken = 0;
  for (PendingToken& token : pending_) {
    if (!all_tokens && !may_show(token)) break;
    ++n_taken;
    delta.token_ids.push_back(token.id);
    bool shown = !stopped_ || token.begin < released_;
    if (!token.logprobs || !shown) continue;
    if (stopped_) cut_text(*token.logprobs, released_ - token.begin);
    delta.logprobs.push_back(std::move(*token.logprobs));
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(n_taken));
  out.push_back(std::move(delta));
}

bool Choice::push_token(flow::TokenEvent& event, bool hide_text, std::vector<ChoiceDelta>& out) {
  ++n_output_;
  PendingToken token;
  token.id = event.token;
  token.begin = token.end = decoded_;
  if (hide_text) {
    pending_.push_back(std::move(token));
    return false;
  }
  std::optional<text::Detokenizer> before;
  if (event.logprobs) before = detokenizer_;
  std::string text = detokenizer_.push(event.token);
  if (event.logprobs) token.logprobs = position_text(*tokenizer_, *before, text, *event.logprobs);
  decoded_ += text.size();
  token.end = decoded_;
  pending_.push_back(std::move(token));
  if (stops_.empty()) {
    release(std::move(text), false, out);
    return false;
  }
  text::StopResult result = stops_.push(text, past_min_tokens());
  stopped_ = result.stopped;
  stop_index_ = result.index;
  release(std::move(result.text), result.stopped, out);
  return stopped_;
}

// What is left of an unfinished character belongs to the last token that has text.
void Choice::add_tail(const std::string& tail) {
  if (tail.empty()) return;
  for (auto token = pending_.rbegin(); token != pending_.rend(); ++token) {
    if (!token->logprobs) continue;
    token->logprobs->chosen.text += tail;
    for (api::TokenText& entry : token->logprobs->top) {
      if (entry.id == token->id) entry.text += tail;
    }
    return;
  }
}

void Choice::finish(const flow::TokenEvent& event, std::vector<ChoiceDelta>& out) {
  finished_ = true;
  api::Finish finish;
  if (!stopped_) {
    std::string text = detokenizer_.finish();
    add_tail(text);
    if (!stops_.empty()) {
      text::StopResult result = stops_.push(text, past_min_tokens());
      stopped_ = result.stopped;
      stop_index_ = result.index;
      text = std::move(result.text);
      if (!stopped_) text += stops_.finish();
    }
    release(std::move(text), true, out);
  }
  if (stopped_) {
    finish.reason = params_->output.stop[static_cast<size_t>(stop_index_)];
  } else if (event.finish == flow::FinishReason::kLength) {
    finish.kind = api::FinishKind::kLength;
  } else if (event.finish == flow::FinishReason::kStopToken) {
    finish.reason = event.stop_token;
  }
  ChoiceDelta last;
  last.choice = index_;
  last.n_output = n_output_;
  last.finish = std::move(finish);
  last.timings = api::timings_of(event);
  last.timings.predicted_n = n_output_;
  out.push_back(std::move(last));
}

bool Choice::push(flow::TokenEvent& event, std::vector<ChoiceDelta>& out) {
  if (finished_) return false;
  bool found = false;
  if (event.token != kNoToken && !stopped_) {
    bool ended_by_token = event.finish == flow::FinishReason::kEos || event.finish == flow::FinishReason::kStopToken;
    found = push_token(event, ended_by_token && !params_->output.include_stop_str_in_output, out);
  }
  if (event.finish != flow::FinishReason::kNone) {
    finish(event, out);
    return false;
  }
  return found;
}

}  // namespace millrace::instance
