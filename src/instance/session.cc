#include "instance/session.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "instance/blocking_notifier.h"
#include "instance/instance.h"
#include "instance/token_text.h"

namespace millrace::instance {
namespace {

constexpr uint64_t kBusyPercent = 92;  // of KV in use: requests of low priority are refused

double seconds(Tick ticks) { return static_cast<double>(ticks) / static_cast<double>(kSecond); }

// What the job waits with: its prompts or messages.
size_t job_bytes(const Job& job) {
  size_t bytes = 0;
  if (const auto* completion = std::get_if<api::CompletionRequest>(&job.body)) {
    for (const api::PromptInput& prompt : completion->prompts) {
      if (const auto* text = std::get_if<std::string>(&prompt)) bytes += text->size();
      if (const auto* ids = std::get_if<std::vector<TokenId>>(&prompt)) bytes += ids->size() * sizeof(TokenId);
    }
  }
  return std::max(bytes, job.body_bytes);
}

// Hands over what was prepared, once its constraint is compiled: on this thread when it is known, else on a thread of
// the compiler, so that no text worker waits for one.
void post_prepared(Instance& instance, SessionKey key, const flow::ConstraintSpec& constraint, Prepared&& prepared) {
  if (prepared.error || constraint.kind == flow::ConstraintKind::kNone) {
    instance.router().post_prepared(key, std::make_unique<Prepared>(std::move(prepared)));
    return;
  }
  auto waiting = std::make_shared<Prepared>(std::move(prepared));
  auto go_on = [&instance, key, waiting](Result<grammar::CompiledConstraint> compiled) {
    if (compiled.ok()) {
      for (PreparedPrompt& prompt : waiting->prompts) prompt.request.sampling.constraint = *compiled;
    } else {
      waiting->error = api::ApiError{compiled.take_error()};
    }
    instance.router().post_prepared(key, std::make_unique<Prepared>(std::move(*waiting)));
  };
  Result<void> posted = instance.constraints().post(constraint, go_on);
  if (!posted.ok()) go_on(posted.take_error());
}

}  // namespace

Session::Session(Instance& instance, Notifier& notifier, Job job, SessionObserver* observer)
    : instance_(&instance),
      observer_(observer),
      key_(instance.router().open(notifier)),
      job_(std::make_shared<const Job>(std::move(job))) {
  n_ = job_->params().n;
}

Session::~Session() {
  cancel();
  instance_->router().close(key_);
}

void Session::fail(api::ApiError error) {
  if (phase_ == SessionPhase::kDone || phase_ == SessionPhase::kFailed) return;
  error_ = std::move(error);
  cancel_requests();
  phase_ = SessionPhase::kFailed;
}

void Session::start() {
  if (key_ == 0) {
    fail({Error{ErrorCode::kQueueFull, "too many requests are open", ""}});
    return;
  }
  Result<void> posted = instance_->post_text_work(job_bytes(*job_), [instance = instance_, key = key_, job = job_] {
    post_prepared(*instance, key, job->params().constraint, instance->text().prepare(*job, key));
  });
  if (!posted.ok()) fail({posted.take_error()});
}

bool Session::submit_all(std::vector<PreparedPrompt>& prepared) {
  std::vector<flow::GenerateRequest> requests;
  requests.reserve(prepared.size());
  for (PreparedPrompt& prompt : prepared) requests.push_back(std::move(prompt.request));
  auto submitted = instance_->engine().submit(std::move(requests));
  submitted_ = submitted.ok();
  if (submitted_) return true;
  int64_t longest = *std::max_element(prompt_lengths_.begin(), prompt_lengths_.end());
  fail(api::with_lengths(submitted.take_error(), longest, instance_->facts().max_len));
  return false;
}

void Session::accept(Prepared prepared) {
  if (phase_ != SessionPhase::kTokenising) return;
  if (prepared.error) {
    fail(std::move(*prepared.error));
    return;
  }
  const api::CommonParams& params = job_->params();
  uint64_t n_tokens = 0;
  for (PreparedPrompt& prompt : prepared.prompts) {
    n_tokens += prompt.tokens.size();
    max_tokens_ = prompt.request.sampling.max_tokens;
    prompt_lengths_.push_back(static_cast<uint32_t>(prompt.tokens.size()));
    for (uint32_t k = 0; k < n_; ++k) {
      choices_.emplace_back(instance_->text().tokenizer(), params, prompt.tokens,
                            static_cast<uint32_t>(choices_.size()));
    }
    prompts_.push_back(
        {.text = std::move(prompt.text), .token_ids = std::move(prompt.tokens), .logprobs = {}, .pooled = {}});
  }
  n_choices_ = static_cast<uint32_t>(choices_.size());
  cached_.assign(prompts_.size(), 0);
  times_.assign(n_choices_, {});
  engine::EngineStats stats = instance_->stats();
  double predicted = instance_->estimate().ttft_s(stats, n_tokens);
  predicted_ttft_ms_ = static_cast<uint64_t>(predicted * 1000.0);
  if (params.caller.timeout_s && predicted > *params.caller.timeout_s) {
    fail({Error{ErrorCode::kDeadlineUnreachable,
                fmt::format("the first token is predicted after {} ms, the deadline is {} ms", predicted_ttft_ms_,
                            static_cast<int64_t>(*params.caller.timeout_s * 1000.0)),
                "timeout"}});
    return;
  }
  uint64_t in_use = uint64_t{stats.kv_blocks_active} + stats.kv_blocks_cooling;
  if (params.caller.priority > 0 && in_use * 100 >= uint64_t{stats.kv_blocks_total} * kBusyPercent) {
    fail({Error{ErrorCode::kMemoryPressure,
                fmt::format("{} of {} KV blocks are in use: no requests of low priority are taken", in_use,
                            stats.kv_blocks_total),
                "priority"}});
    return;
  }
  Result<void> allowed = instance_->tenants().admit(job_->tenant, n_tokens, instance_->clock().now());
  if (!allowed.ok()) {
    fail({allowed.take_error()});
    return;
  }
  phase_ = SessionPhase::kRunning;
  if (submit_all(prepared.prompts) && observer_ != nullptr) observer_->on_admitted(n_, predicted);
}

void Session::take_prompt_logprobs(flow::TokenEvent& event) {
  size_t prompt_idx = prompt_of(event.request);
  api::PromptOutput& prompt = prompts_[prompt_idx];
  const api::CommonParams& params = job_->params();
  const bool echo = !job_->is_chat() && params.output.echo;
  const bool wanted = params.sampling.n_prompt_logprobs >= 0 || (echo && params.sampling.n_logprobs >= 0);
  if (!wanted || !prompt.logprobs.empty()) return;
  if (event.prompt_logprobs.empty() && prompt.token_ids.size() > 1) return;
  const std::string* shown = echo ? &prompt.text : nullptr;
  prompt.logprobs = prompt_positions(instance_->text().tokenizer(), prompt.token_ids, event.prompt_logprobs, shown);
}

void Session::observe(const flow::TokenEvent& event, uint32_t choice, bool first) {
  ChoiceTimes& times = times_[choice];
  if (first) {
    times.first = event.when;
    Tick ttft = event.when - job_->arrival;
    if (observer_ != nullptr) {
      observer_->on_first_token(ttft);
      if (predicted_ttft_ms_ > 0 && ttft > 0) {
        observer_->on_ttft_ratio(static_cast<double>(predicted_ttft_ms_) / 1000.0 / seconds(ttft));
      }
    }
  } else if (observer_ != nullptr) {
    observer_->on_token_gap(event.when - times.last);
  }
  times.last = event.when;
}

void Session::count_choice(const flow::TokenEvent& event, uint32_t choice) {
  times_[choice].counted = true;
  instance_->tenants().charge(job_->tenant, choices_[choice].n_output(), instance_->clock().now());
  if (observer_ == nullptr) return;
  ChoiceStats stats;
  stats.outcome = choices_[choice].stopped() || event.finish != flow::FinishReason::kLength ? ChoiceOutcome::kStop
                                                                                            : ChoiceOutcome::kLength;
  if (event.finish == flow::FinishReason::kError) stats.outcome = ChoiceOutcome::kError;
  stats.n_prompt = event.n_prompt;
  stats.n_output = choices_[choice].n_output();
  stats.n_cached = event.n_cached;
  stats.n_preempted = event.n_preempted;
  stats.max_tokens = max_tokens_;
  stats.times = event.times;
  stats.last_token = times_[choice].last;
  observer_->on_choice(stats);
}

// What is known while the choice still runs: the cache's part of the prompt is not.
void Session::time_deltas(uint32_t choice, std::span<ChoiceDelta> deltas) const {
  auto ms = [](Tick from, Tick to) { return static_cast<double>(to - from) / static_cast<double>(kMillisecond); };
  for (ChoiceDelta& delta : deltas) {
    if (delta.finish) continue;
    delta.timings.prompt_n = prompt_lengths_[choice / n_];
    delta.timings.prompt_ms = ms(job_->arrival, times_[choice].first);
    delta.timings.predicted_n = delta.n_output;
    delta.timings.predicted_ms = ms(times_[choice].first, times_[choice].last);
  }
}

void Session::on_event(flow::TokenEvent& event, std::vector<ChoiceDelta>& out) {
  if (phase_ != SessionPhase::kRunning) return;
  auto prompt_idx = static_cast<uint32_t>(prompt_of(event.request));
  uint32_t index = prompt_idx * n_ + event.fork;
  if (prompt_idx >= prompts_.size() || event.fork >= n_ || choices_[index].finished()) return;
  Choice& choice = choices_[index];
  take_prompt_logprobs(event);
  if (!event.pooled.empty()) prompts_[prompt_idx].pooled = std::move(event.pooled);
  bool counts = event.token != kNoToken && !choice.stopped();
  if (counts) observe(event, index, choice.n_output() == 0);
  if (event.finish == flow::FinishReason::kError) {
    count_choice(event, index);
    fail(api::with_lengths(std::move(event.error), prompt_lengths_[prompt_idx], instance_->facts().max_len));
    return;
  }
  if (event.finish == flow::FinishReason::kCancelled && !choice.stopped()) {
    fail({Error{ErrorCode::kCancelled, "the request was cancelled", ""}});
    return;
  }
  size_t n_before = out.size();
  if (choice.push(event, out)) instance_->engine().cancel_fork(event.request, event.fork);
  if (job_->params().output.timings_per_token) time_deltas(index, std::span(out).subspan(n_before));
  if (!choice.finished()) return;
  if (n_ended_++ == 0 && out.size() > n_before) timings_ = out.back().timings;
  if (event.fork == 0) cached_[prompt_idx] = event.n_cached;
  count_choice(event, index);
  if (n_ended_ == n_choices_) phase_ = SessionPhase::kDone;
}

void Session::pump(std::vector<ChoiceDelta>& out) {
  Mail mail = instance_->router().take(key_);
  if (mail.prepared) accept(std::move(*mail.prepared));
  for (flow::TokenEvent& event : mail.events) on_event(event, out);
}

void Session::park() {
  if (parked_ || phase_ != SessionPhase::kRunning) return;
  parked_ = true;
  for (size_t i = 0; i < prompts_.size(); ++i) instance_->engine().park(request_id_of(key_, i));
}

void Session::resume() {
  if (!parked_) return;
  parked_ = false;
  if (phase_ != SessionPhase::kRunning) return;
  for (size_t i = 0; i < prompts_.size(); ++i) instance_->engine().resume(request_id_of(key_, i));
}

void Session::cancel_requests() {
  if (!submitted_) return;
  for (size_t i = 0; i < prompts_.size(); ++i) instance_->engine().cancel(request_id_of(key_, i));
  for (uint32_t i = 0; i < n_choices_; ++i) {
    if (times_[i].counted || choices_[i].finished()) continue;
    times_[i].counted = true;
    ChoiceStats stats;
    stats.outcome = ChoiceOutcome::kAbort;
    stats.n_output = choices_[i].n_output();
    instance_->tenants().charge(job_->tenant, stats.n_output, instance_->clock().now());
    if (observer_ != nullptr) observer_->on_choice(stats);
  }
}

void Session::cancel() { fail({Error{ErrorCode::kCancelled, "the request was cancelled", ""}}); }

api::Usage Session::usage() const {
  api::Usage usage;
  const uint32_t block = instance_->block_tokens();
  for (size_t i = 0; i < prompt_lengths_.size(); ++i) {
    const uint32_t whole_blocks = prompt_lengths_[i] / block * block;
    usage.prompt_tokens += prompt_lengths_[i];
    usage.cached_tokens += cached_[i];
    if (instance_->prefix_cache() && whole_blocks > cached_[i]) usage.created_tokens += whole_blocks - cached_[i];
  }
  for (const Choice& choice : choices_) usage.completion_tokens += choice.n_output();
  return usage;
}

void collect(const Session& session, std::vector<ChoiceDelta>& deltas, std::vector<api::ChoiceOutput>& choices) {
  for (ChoiceDelta& delta : deltas) {
    while (choices.size() <= delta.choice) {
      auto index = static_cast<uint32_t>(choices.size());
      choices.push_back({.index = index, .prompt_index = session.prompt_of_choice(index)});
    }
    api::ChoiceOutput& choice = choices[delta.choice];
    choice.text += delta.text;
    choice.token_ids.insert(choice.token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
    std::move(delta.logprobs.begin(), delta.logprobs.end(), std::back_inserter(choice.logprobs));
    if (!delta.finish) continue;
    choice.finish = std::move(*delta.finish);
    choice.timings = delta.timings;
  }
  deltas.clear();
}

Result<Answer> generate_blocking(Instance& instance, Job job, const std::function<bool(const ChoiceDelta&)>& on_delta) {
  Instance::BlockingNotifier& notifier = instance.blocking_notifier();
  Session session(instance, notifier, std::move(job));
  Answer answer;
  std::vector<ChoiceDelta> deltas;
  session.start();
  bool told_to_stop = false;
  while (session.phase() == SessionPhase::kTokenising || session.phase() == SessionPhase::kRunning) {
    notifier.wait(session.key());
    session.pump(deltas);
    for (const ChoiceDelta& delta : deltas) {
      if (on_delta && !on_delta(delta)) {
        told_to_stop = true;
        break;
      }
    }
    if (told_to_stop) break;
    collect(session, deltas, answer.choices);
  }
  notifier.forget(session.key());
  if (told_to_stop) return Error{ErrorCode::kCancelled, "the request was cancelled", ""};
  if (session.phase() == SessionPhase::kFailed) return session.error().error;
  answer.prompts = session.prompts();
  answer.usage = session.usage();
  answer.timings = session.timings();
  return answer;
}

}  // namespace millrace::instance
