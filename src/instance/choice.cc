#include "instance/choice.h"

#include <algorithm>
#include <random>
#include <string_view>
#include <utility>

#include "instance/token_text.h"

namespace millrace::instance {
namespace {

constexpr size_t kPrimeTokens = 16;  // enough of the prompt to know that the answer does not begin a text

// As OpenAI's look, or Mistral's, whose template takes no other.
std::string call_id(bool is_short) {
  constexpr std::string_view kLetters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr size_t kShort = 9;
  constexpr size_t kLong = 24;
  std::random_device device;
  std::string out = is_short ? "" : "call_";
  for (size_t i = 0; i < (is_short ? kShort : kLong); ++i) out += kLetters[device() % kLetters.size()];
  return out;
}

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
               std::span<const TokenId> preserved, uint32_t index)
    : tokenizer_(&tokenizer),
      preserved_(preserved.begin(), preserved.end()),
      detokenizer_(tokenizer, params.output.skip_special_tokens),
      stops_(params.output.stop, params.output.include_stop_str_in_output),
      lines_({.n_indent = params.output.n_indent, .max_ms = params.output.t_max_predict_ms}),
      params_(&params),
      index_(index) {
  detokenizer_.keep(preserved_);
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
  if (parser_ == nullptr) {
    out.push_back(std::move(delta));
  } else {
    tell_apart(std::move(delta), false, out);
  }
}

void Choice::parse(const text::AnswerOptions& options, std::span<const TokenId> kept, bool hide_reasoning,
                   bool named_tool) {
  parser_ = std::make_unique<text::AnswerParser>(options);
  short_ids_ = options.tools != nullptr && options.tools->short_ids;
  hide_reasoning_ = hide_reasoning;
  named_tool_ = named_tool;
  preserved_.insert(preserved_.end(), kept.begin(), kept.end());
  std::ranges::sort(preserved_);
  detokenizer_.keep(preserved_);
}

ChoiceDelta Choice::delta_of(text::AnswerPart& part) {
  ChoiceDelta out;
  out.choice = index_;
  out.n_output = n_output_;
  switch (part.kind) {
    case text::AnswerPart::Kind::kContent:
      out.text = std::move(part.text);
      break;
    case text::AnswerPart::Kind::kReasoning:
      if (!hide_reasoning_) out.reasoning = std::move(part.text);
      break;
    case text::AnswerPart::Kind::kCall:
      out.call = api::CallPiece{.index = n_calls_++,
                                .id = call_id(short_ids_),
                                .name = std::move(part.name),
                                .arguments = std::move(part.arguments)};
      break;
    case text::AnswerPart::Kind::kArguments:
      out.call = api::CallPiece{.index = n_calls_ - 1, .id = {}, .name = {}, .arguments = std::move(part.text)};
      break;
  }
  return out;
}

void Choice::tell_apart(ChoiceDelta delta, bool at_end, std::vector<ChoiceDelta>& out) {
  bool was_reasoning = parser_->in_reasoning();
  if (was_reasoning) n_reasoning_ += static_cast<uint32_t>(delta.token_ids.size());
  std::vector<text::AnswerPart> parts;
  parser_->push(delta.text, parts);
  if (at_end) parser_->finish(parts);
  bool hidden = hide_reasoning_ && was_reasoning;
  if (hidden) {
    delta.token_ids.clear();
    delta.logprobs.clear();
  }
  size_t n_before = out.size();
  for (text::AnswerPart& part : parts) {
    ChoiceDelta one = delta_of(part);
    if (!one.text.empty() || !one.reasoning.empty() || one.call) out.push_back(std::move(one));
  }
  bool has_tokens = !delta.token_ids.empty() || !delta.logprobs.empty();
  if (out.size() == n_before) {
    if (!has_tokens) return;
    delta.text.clear();
    out.push_back(std::move(delta));
    return;
  }
  out[n_before].token_ids = std::move(delta.token_ids);
  out[n_before].logprobs = std::move(delta.logprobs);
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
  if (!stops_.empty()) {
    text::StopResult result = stops_.push(text, past_min_tokens());
    stopped_ = result.stopped;
    stop_index_ = result.index;
    text = std::move(result.text);
  }
  if (!lines_.empty() && !stopped_) {
    if (n_output_ == 1) first_token_ = event.when;
    lines_.push(text, (event.when - first_token_) / kMillisecond);
    stopped_ = lines_.ended();
    if (stopped_ && !lines_.cut()) text += stops_.finish();
  }
  release(std::move(text), stopped_, out);
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

// What was held back, when no more tokens come.
void Choice::release_rest(std::vector<ChoiceDelta>& out) {
  finished_ = true;
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
  if (parser_ != nullptr) tell_apart({.choice = index_, .n_output = n_output_}, true, out);
}

void Choice::abort(const api::Timings& timings, std::vector<ChoiceDelta>& out) {
  if (finished_) return;
  release_rest(out);
  ChoiceDelta last;
  last.choice = index_;
  last.n_output = n_output_;
  last.finish = api::Finish{.kind = api::FinishKind::kAbort, .reason = {}};
  last.timings = timings;
  out.push_back(std::move(last));
}

void Choice::finish(const flow::TokenEvent& event, std::vector<ChoiceDelta>& out) {
  api::Finish finish;
  release_rest(out);
  if (stopped_ && stop_index_ >= 0) {
    finish.reason = params_->output.stop[static_cast<size_t>(stop_index_)];
  } else if (stopped_ || event.finish == flow::FinishReason::kLength) {
    finish.kind = api::FinishKind::kLength;
  } else if (event.finish == flow::FinishReason::kStopToken) {
    finish.reason = event.stop_token;
  }
  if (n_calls_ > 0 && finish.kind == api::FinishKind::kStop) {
    finish.kind = api::FinishKind::kCalls;
    finish.named = named_tool_;
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
