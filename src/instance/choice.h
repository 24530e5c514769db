// Choice: the text of one answer as its tokens come: detokenizer, stop strings, logprobs with text. A token's logprobs
// and id are handed out together with the text it completes (token_text.h), so joined logprob tokens are the text.
// Thread: one at a time (the owner of the session).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/common.h"
#include "api/output.h"
#include "flow/token_event.h"
#include "text/answer_parser.h"
#include "text/detokenizer.h"
#include "text/line_limits.h"
#include "text/stop_matcher.h"
#include "text/tokenizer.h"

namespace millrace::instance {

// What one token, or the end, adds to one choice. Text is valid UTF-8 and may be empty.
struct ChoiceDelta {
  uint32_t choice = 0;
  std::string text;  // content; of text, reasoning and call at most one is there
  std::string reasoning;
  std::optional<api::CallPiece> call;
  std::vector<api::PositionText> logprobs;  // when logprobs were asked for
  std::vector<TokenId> token_ids;           // the tokens this text comes from, held-back ones included
  uint32_t n_output = 0;                    // output tokens of the choice so far
  std::optional<api::Finish> finish;        // set on the last one
  api::Timings timings;                     // set on the last one, and on all with timings_per_token
};

class Choice {
 public:
  // preserved: special tokens that are shown; sorted.
  Choice(const text::Tokenizer& tokenizer, const api::CommonParams& params, std::span<const TokenId> prompt,
         std::span<const TokenId> preserved, uint32_t index);
  // The text says calls and reasoning: they are told apart from here on. `kept`: special tokens that belong to the
  // text. hide_reasoning: it is not handed out.
  void parse(const text::AnswerOptions& options, std::span<const TokenId> kept, bool hide_reasoning, bool named_tool);

  // Appends what may be shown now to `out`. True when a stop string has just been found: the caller cancels the fork.
  // An event with an error or an unexpected cancel must not be given.
  bool push(flow::TokenEvent& event, std::vector<ChoiceDelta>& out);

  bool finished() const { return finished_; }
  bool stopped() const { return stopped_; }  // by what its text is: a stop string, or a limit of its lines
  bool stopped_at_limit() const { return stopped_ && stop_index_ < 0; }
  // Ends an answer whose request was aborted, as far as it came. times: of that.
  void abort(const api::Timings& timings, std::vector<ChoiceDelta>& out);
  uint32_t n_output() const { return n_output_; }
  uint32_t n_reasoning() const { return n_reasoning_; }  // of them, tokens of reasoning

 private:
  struct PendingToken {
    TokenId id = kNoToken;
    uint64_t begin = 0;  // bytes of decoded text before it
    uint64_t end = 0;    // and with it
    std::optional<api::PositionText> logprobs;
  };
  // Text of the first min_tokens tokens ends no answer, as in vLLM (v1/engine/detokenizer.py, update).
  bool past_min_tokens() const { return n_output_ > params_->sampling.min_tokens; }
  bool may_show(const PendingToken& token) const;
  bool push_token(flow::TokenEvent& event, bool hide_text, std::vector<ChoiceDelta>& out);
  void release_rest(std::vector<ChoiceDelta>& out);
  void add_tail(const std::string& tail);
  void finish(const flow::TokenEvent& event, std::vector<ChoiceDelta>& out);
  void release(std::string text, bool all_tokens, std::vector<ChoiceDelta>& out);
  // What the parser says of a delta's text, one delta for each part; tokens go with the first.
  void tell_apart(ChoiceDelta delta, bool at_end, std::vector<ChoiceDelta>& out);
  ChoiceDelta delta_of(text::AnswerPart& part);

  const text::Tokenizer* tokenizer_;
  std::vector<TokenId> preserved_;  // special tokens that are shown; sorted
  text::Detokenizer detokenizer_;
  text::StopMatcher stops_;
  text::LineLimits lines_;
  const api::CommonParams* params_;  // outlives the choice (in the session's job)
  uint32_t index_;
  uint32_t n_output_ = 0;
  uint64_t decoded_ = 0;   // bytes out of the detokenizer
  uint64_t released_ = 0;  // bytes handed out
  int stop_index_ = -1;    // once stopped: which stop string, or none
  Tick first_token_ = 0;
  std::unique_ptr<text::AnswerParser> parser_;  // null: all text is content
  uint32_t n_reasoning_ = 0;
  uint32_t n_calls_ = 0;
  bool hide_reasoning_ = false;
  bool named_tool_ = false;
  bool short_ids_ = false;
  bool stopped_ = false;
  bool finished_ = false;
  std::vector<PendingToken> pending_;
};

}  // namespace millrace::instance
