// Session: the text side of one request: tokenise on a text worker, submit, receive TokenEvents, detokenise, cut at
// stop strings, hand out deltas. One API request is one session: each prompt is one engine request with n forks.
//  1. Every choice ends with exactly one delta that has `finish`, or the whole session fails with one error.
//  2. With best_of, deltas are held until all answers have ended; those of the best are given, by their rank.
//  3. Destroying a session cancels what is unfinished; nothing of it is delivered afterwards.
// Thread: one at a time (the IO thread that owns the connection, or the caller of generate_blocking).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/errors.h"
#include "api/output.h"
#include "flow/token_event.h"
#include "instance/choice.h"
#include "instance/router.h"
#include "instance/text_side.h"

namespace millrace::instance {

class Instance;

enum class ChoiceOutcome : uint8_t { kStop, kLength, kAbort, kError };

// One ended choice, for metrics.
struct ChoiceStats {
  ChoiceOutcome outcome = ChoiceOutcome::kStop;
  uint32_t n_prompt = 0;
  uint32_t n_output = 0;
  uint32_t n_cached = 0;
  uint32_t n_preempted = 0;
  uint32_t max_tokens = 0;
  std::string tenant;        // its name
  flow::RequestTimes times;  // filled unless kAbort
  Tick last_token = 0;       // engine clock; 0 = no token
};

// Called by the session's owner thread as events are read.
class SessionObserver {
 public:
  virtual ~SessionObserver() = default;
  virtual void on_first_token(Tick since_arrival) = 0;  // per choice
  virtual void on_token_gap(Tick gap) = 0;              // per further token
  virtual void on_late_token() = 0;                     // of those, later than the request's or the server's ITL target
  virtual void on_choice(const ChoiceStats& stats) = 0;
  virtual void on_admitted(uint32_t n) = 0;                      // per request accepted by the engine
  virtual void on_text_queue_full() = 0;                         // per request refused before the engine saw it
  virtual void on_ttft_ratio(double predicted_over_actual) = 0;  // per prompt that had a prediction, at its end
};

enum class SessionPhase : uint8_t { kTokenising, kRunning, kDone, kFailed };

class Session {
 public:
  // `observer` may be null.
  Session(Instance& instance, Notifier& notifier, Job job, SessionObserver* observer = nullptr);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  SessionKey key() const { return key_; }
  const Job& job() const { return *job_; }
  // Hands the request to a text worker; a refusal ends the session (phase kFailed).
  void start();
  // Reads the mail and appends what it adds. Call whenever the notifier names key().
  void pump(std::vector<ChoiceDelta>& out);
  SessionPhase phase() const { return phase_; }
  // With kFailed.
  const api::ApiError& error() const { return error_; }
  void fail(api::ApiError error);

  // A slow reader: the engine leaves the request out of its plans until resume().
  void park();
  void resume();
  bool parked() const { return parked_; }
  // Ends it because its client said so elsewhere: with kCancelled, or, with keep_text, by a last delta of each choice
  // that is not finished (FinishKind::kAbort).
  void abort(bool keep_text, std::vector<ChoiceDelta>& out);
  // The choices of one prompt, each with its text so far; nothing unless the phase is kRunning.
  void abort_prompt(uint32_t prompt, std::vector<ChoiceDelta>& out);
  // Tokens not handed out yet stay; choices unfinished are counted as aborted.
  void cancel();

  bool submitted() const { return submitted_; }
  uint32_t n_choices() const { return n_choices_ / n_ * n_shown_; }
  const std::vector<api::PromptOutput>& prompts() const { return prompts_; }
  uint32_t prompt_of_choice(uint32_t choice) const { return choice / n_shown_; }
  // Prompt and cached tokens are summed over prompts (cached ones known at the end); output over choices so far.
  api::Usage usage() const;
  uint64_t predicted_ttft_ms() const { return predicted_ttft_ms_; }  // with kDeadlineUnreachable
  const api::Timings& timings() const { return timings_; }           // of the first choice to end
  double prepare_ms() const;  // arrival until the tokens of the prompt were known

 private:
  void accept(Prepared prepared);
  void parse_answer(Choice& choice, const text::AnswerOptions& options) const;
  bool submit_all(std::vector<PreparedPrompt>& prepared);
  void on_event(flow::TokenEvent& event, std::vector<ChoiceDelta>& out);
  void observe(const flow::TokenEvent& event, uint32_t choice, bool first);
  void count_choice(const flow::TokenEvent& event, uint32_t choice);
  void take_prompt_logprobs(flow::TokenEvent& event);
  bool picks_best() const { return n_ > n_shown_; }
  void weigh(flow::TokenEvent& event, uint32_t choice);
  void hand_out_best(std::vector<ChoiceDelta>& out);
  void cancel_requests();
  void count_aborted(uint32_t first, uint32_t end);
  void time_deltas(uint32_t choice, std::span<ChoiceDelta> deltas) const;

  struct ChoiceTimes {
    Tick first = 0;
    Tick last = 0;
    bool counted = false;
  };

  Instance* instance_;
  SessionObserver* observer_;
  SessionKey key_ = 0;
  std::shared_ptr<const Job> job_;  // shared with the text worker while it tokenises
  SessionPhase phase_ = SessionPhase::kTokenising;
  api::ApiError error_;
  std::vector<api::PromptOutput> prompts_;
  std::vector<uint32_t> prompt_lengths_;
  std::vector<uint32_t> cached_;  // by prompt
  std::vector<Choice> choices_;
  std::vector<ChoiceTimes> times_;  // by choice
  api::Timings timings_;
  Tick prepared_ = 0;
  uint32_t n_ = 1;                    // answers made per prompt
  uint32_t n_shown_ = 1;              // of those, given: fewer with best_of
  std::vector<double> logprob_sums_;  // by choice, with best_of
  std::vector<ChoiceDelta> held_;     // with best_of, until all have ended
  uint32_t n_choices_ = 0;
  uint32_t n_ended_ = 0;
  uint32_t max_tokens_ = 0;
  uint64_t predicted_ttft_ms_ = 0;
  uint64_t queued_bytes_ = 0;
  bool submitted_ = false;
  bool parked_ = false;
};

// Adds deltas to whole answers; `choices` grows to the highest index.
void collect(const Session& session, std::vector<ChoiceDelta>& deltas, std::vector<api::ChoiceOutput>& choices);

struct Answer {
  std::vector<api::PromptOutput> prompts;
  std::vector<api::ChoiceOutput> choices;
  api::Usage usage;
  api::Timings timings;
};
// Waits for the whole answer; `on_delta` (may be empty) sees every delta as it comes, false cancels (kCancelled).
// Thread: any but the engine's and the text workers'.
Result<Answer> generate_blocking(Instance& instance, Job job, const std::function<bool(const ChoiceDelta&)>& on_delta);

}  // namespace millrace::instance
