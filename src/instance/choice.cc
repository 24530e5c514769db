#include "instance/choice.h"

#include <algorithm>
#include <utility>

namespace millrace::instance {
namespace {

constexpr size_t kPrimeTokens = 16;  // enough of the prompt to know that the answer does not begin a text

api::TokenText token_text(const text::Tokenizer& tokenizer, const flow::TokenLogprob& entry) {
  return {entry.token, std::string(tokenizer.token_bytes(entry.token)), entry.logprob, entry.rank};
}

}  // namespace

api::PositionText position_text(const text::Tokenizer& tokenizer, const flow::PositionLogprobs& position) {
  api::PositionText out;
  out.chosen = token_text(tokenizer, position.chosen);
  out.top.reserve(position.top.size());
  for (const flow::TokenLogprob& entry : position.top) out.top.push_back(token_text(tokenizer, entry));
  return out;
}

Choice::Choice(const text::Tokenizer& tokenizer, const api::CommonParams& params, std::span<const TokenId> prompt,
               uint32_t index)
    : tokenizer_(&tokenizer),
      detokenizer_(tokenizer, params.output.skip_special_tokens),
      stops_(params.output.stop, params.output.include_stop_str_in_output),
      params_(&params),
      index_(index) {
  detokenizer_.prime(prompt.last(std::min(prompt.size(), kPrimeTokens)));
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
    if (!all_tokens && token.begin >= released_) break;
    ++n_taken;
    delta.token_ids.push_back(token.id);
    bool shown = !stopped_ || token.begin < released_;
    if (token.logprobs && shown) delta.logprobs.push_back(std::move(*token.logprobs));
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(n_taken));
  out.push_back(std::move(delta));
}

bool Choice::push_token(flow::TokenEvent& event, bool hide_text, std::vector<ChoiceDelta>& out) {
  ++n_output_;
  PendingToken token;
  token.id = event.token;
  token.begin = decoded_;
  if (event.logprobs && !hide_text) token.logprobs = position_text(*tokenizer_, *event.logprobs);
  pending_.push_back(std::move(token));
  if (hide_text) return false;
  std::string text = detokenizer_.push(event.token);
  decoded_ += text.size();
  if (stops_.empty()) {
    release(std::move(text), false, out);
    return false;
  }
  text::StopResult result = stops_.push(text);
  stopped_ = result.stopped;
  stop_index_ = result.index;
  release(std::move(result.text), result.stopped, out);
  return stopped_;
}

void Choice::finish(const flow::TokenEvent& event, std::vector<ChoiceDelta>& out) {
  finished_ = true;
  api::Finish finish;
  if (!stopped_) {
    std::string text = detokenizer_.finish();
    if (!stops_.empty()) {
      text::StopResult result = stops_.push(text);
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
