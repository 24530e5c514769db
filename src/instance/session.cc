#include "instance/session.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/macros.h"
#include "base/out_of_memory.h"
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

// The constraint, or only a budget, around the reasoning before the answer.
void think_first(Instance& instance, PreparedPrompt& prompt) {
  if (!prompt.answer.block) return;
  auto& constraint = prompt.request.sampling.constraint;
  constraint =
      grammar::behind_reasoning(std::move(constraint), std::move(*prompt.answer.block), instance.text().tokenizer());
}

// Hands over what was prepared, once its constraint is compiled: on this thread when it is known, else on a thread of
// the compiler, so that no text worker waits for one.
void post_prepared(Instance& instance, SessionKey key, Prepared&& prepared) {
  flow::ConstraintSpec constraint;  // one for all prompts: only chats, which have one, make their own
  if (!prepared.prompts.empty()) constraint = prepared.prompts.front().answer.constraint;
  if (prepared.error || constraint.kind == flow::ConstraintKind::kNone) {
    for (PreparedPrompt& prompt : prepared.prompts) think_first(instance, prompt);
    instance.router().post_prepared(key, std::make_unique<Prepared>(std::move(prepared)));
    return;
  }
  auto waiting = std::make_shared<Prepared>(std::move(prepared));
  auto go_on = [&instance, key, waiting](Result<grammar::CompiledConstraint> compiled) {
    if (compiled.ok()) {
      for (PreparedPrompt& prompt : waiting->prompts) {
        prompt.request.sampling.constraint = *compiled;
        think_first(instance, prompt);
      }
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
  n_shown_ = job_->params().n;
  n_ = std::max(n_shown_, job_->params().best_of);
}

Session::~Session() {
  try {
    cancel();
  } catch (const std::bad_alloc&) {  // what still runs ends by itself
    LOG(LogLevel::kWarning, "out of memory: a request that nobody waits for goes on");
  }
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
    if (observer_ != nullptr) observer_->on_text_queue_full();
    fail({Error{ErrorCode::kQueueFull, "too many requests are open", ""}});
    return;
  }
  // what the engine would refuse is not tokenised first: a refusal costs next to nothing
  if (Result<void> room = instance_->engine().submit(std::vector<flow::GenerateRequest>()); !room.ok()) {
    fail({room.take_error()});
    return;
  }
  Result<void> posted = instance_->post_text_work(job_bytes(*job_), [instance = instance_, key = key_, job = job_] {
    try {
      post_prepared(*instance, key, instance->text().prepare(*job, key));
    } catch (const std::bad_alloc&) {
      Prepared failed;
      failed.error = api::ApiError{out_of_memory("preparing the prompt")};
      instance->router().post_prepared(key, std::make_unique<Prepared>(std::move(failed)));
    }
  });
  if (posted.ok()) return;
  if (observer_ != nullptr) observer_->on_text_queue_full();
  fail({posted.take_error()});
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

void Session::parse_answer(Choice& choice, const text::AnswerOptions& options) const {
  const auto& chat = std::get<api::ChatRequest>(job_->body);
  choice.parse(options, instance_->text().answers().tag_tokens(), !chat.reasoning.include,
               chat.tools.choice == api::ToolChoice::kNamed);
}

void Session::accept(Prepared prepared) {
  if (phase_ != SessionPhase::kTokenising) return;
  prepared_ = instance_->clock().now();
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
      choices_.emplace_back(instance_->text().tokenizer(), params, prompt.tokens, prepared.preserved,
                            static_cast<uint32_t>(choices_.size()));
      if (prompt.answer.options != nullptr) parse_answer(choices_.back(), *prompt.answer.options);
    }
    prompts_.push_back(
        {.text = std::move(prompt.text), .token_ids = std::move(prompt.tokens), .logprobs = {}, .pooled = {}});
  }
  n_choices_ = static_cast<uint32_t>(choices_.size());
  cached_.assign(prompts_.size(), 0);
  times_.assign(n_choices_, {});
  if (picks_best()) logprob_sums_.assign(n_choices_, 0.0);
  engine::EngineStats stats = instance_->stats();
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
    api::ApiError refused{allowed.take_error()};
    refused.retry_after_s = instance_->tenants().wait_s(job_->tenant, instance_->clock().now());
    fail(std::move(refused));
    return;
  }
  phase_ = SessionPhase::kRunning;
  if (!submit_all(prepared.prompts)) {
    instance_->tenants().refund(job_->tenant, n_tokens);
  } else if (observer_ != nullptr) {
    observer_->on_admitted(n_shown_);
  }
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
    if (observer_ != nullptr) observer_->on_first_token(ttft);
  } else if (observer_ != nullptr) {
    Tick gap = event.when - times.last;
    int64_t wished_ms = job_->params().extensions.itl_slo_ms;
    Tick target = wished_ms != 0 ? wished_ms * kMillisecond : instance_->itl_target();
    observer_->on_token_gap(gap);
    if (target != 0 && gap > target) observer_->on_late_token();
  }
  times.last = event.when;
}

void Session::count_choice(const flow::TokenEvent& event, uint32_t choice) {
  times_[choice].counted = true;
  instance_->tenants().charge(job_->tenant, choices_[choice].n_output(), instance_->clock().now());
  if (observer_ == nullptr) return;
  ChoiceStats stats;
  const Choice& ended = choices_[choice];
  bool length = ended.stopped_at_limit() || (!ended.stopped() && event.finish == flow::FinishReason::kLength);
  stats.outcome = length ? ChoiceOutcome::kLength : ChoiceOutcome::kStop;
  if (event.finish == flow::FinishReason::kError) stats.outcome = ChoiceOutcome::kError;
  stats.n_prompt = event.n_prompt;
  stats.n_output = choices_[choice].n_output();
  stats.n_cached = event.n_cached;
  stats.n_preempted = event.n_preempted;
  stats.max_tokens = max_tokens_;
  stats.tenant = instance_->tenants().name(job_->tenant);
  stats.times = event.times;
  stats.last_token = times_[choice].last;
  observer_->on_choice(stats);
  Tick predicted = event.times.predicted_first_token;
  if (event.fork != 0 || predicted == 0 || event.times.first_token <= event.times.arrival) return;
  observer_->on_ttft_ratio(seconds(predicted - event.times.arrival) /
                           seconds(event.times.first_token - event.times.arrival));
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
  if (counts && picks_best()) weigh(event, index);
  if (event.finish == flow::FinishReason::kError) {
    count_choice(event, index);
    if (event.error.code == ErrorCode::kDeadlineUnreachable) {
      predicted_ttft_ms_ = static_cast<uint64_t>((event.times.predicted_first_token - job_->arrival) / kMillisecond);
      for (uint32_t length : prompt_lengths_) instance_->tenants().refund(job_->tenant, length);
    }
    fail(api::with_lengths(std::move(event.error), prompt_lengths_[prompt_idx], instance_->facts().max_len));
    return;
  }
  if (event.finish == flow::FinishReason::kCancelled && !choice.stopped()) {
    fail({Error{ErrorCode::kCancelled, "the request was cancelled", ""}});
    return;
  }
  std::vector<ChoiceDelta>& to = picks_best() ? held_ : out;
  size_t n_before = to.size();
  if (choice.push(event, to)) instance_->engine().cancel_fork(event.request, event.fork);
  if (job_->params().output.timings_per_token) time_deltas(index, std::span(to).subspan(n_before));
  if (!choice.finished()) return;
  if (n_ended_++ == 0 && to.size() > n_before) timings_ = to.back().timings;
  if (event.fork == 0) cached_[prompt_idx] = event.n_cached;
  count_choice(event, index);
  if (n_ended_ < n_choices_) return;
  phase_ = SessionPhase::kDone;
  if (picks_best()) hand_out_best(out);
}

// The log probability of the token counts; the client sees it only when it asked for it.
void Session::weigh(flow::TokenEvent& event, uint32_t choice) {
  if (event.logprobs != nullptr) logprob_sums_[choice] += static_cast<double>(event.logprobs->chosen.logprob);
  if (job_->params().sampling.n_logprobs < 0) event.logprobs.reset();
}

// The highest log probability per token first, as OpenAI documents best_of; equal ones by their number.
void Session::hand_out_best(std::vector<ChoiceDelta>& out) {
  auto mean = [this](uint32_t i) { return logprob_sums_[i] / std::max(choices_[i].n_output(), 1u); };
  std::vector<uint32_t> shown_as(n_choices_, UINT32_MAX);
  std::vector<uint32_t> of_prompt(n_);
  for (uint32_t first = 0; first < n_choices_; first += n_) {
    std::iota(of_prompt.begin(), of_prompt.end(), first);
    std::ranges::stable_sort(of_prompt, [&](uint32_t a, uint32_t b) { return mean(a) > mean(b); });
    for (uint32_t rank = 0; rank < n_shown_; ++rank) shown_as[of_prompt[rank]] = first / n_ * n_shown_ + rank;
  }
  for (ChoiceDelta& delta : held_) {
    if (shown_as[delta.choice] == UINT32_MAX) continue;
    delta.choice = shown_as[delta.choice];
    out.push_back(std::move(delta));
  }
  held_.clear();
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
  count_aborted(0, n_choices_);
}

void Session::count_aborted(uint32_t first, uint32_t end) {
  for (uint32_t i = first; i < end; ++i) {
    if (times_[i].counted || choices_[i].finished()) continue;
    times_[i].counted = true;
    ChoiceStats stats;
    stats.outcome = ChoiceOutcome::kAbort;
    stats.n_output = choices_[i].n_output();
    stats.tenant = instance_->tenants().name(job_->tenant);
    instance_->tenants().charge(job_->tenant, stats.n_output, instance_->clock().now());
    if (observer_ != nullptr) observer_->on_choice(stats);
  }
}

void Session::abort(bool keep_text, std::vector<ChoiceDelta>& out) {
  if (!keep_text || phase_ != SessionPhase::kRunning || picks_best()) {
    fail({Error{ErrorCode::kCancelled, "the request was aborted", ""}});
    return;
  }
  for (uint32_t i = 0; i < prompts_.size(); ++i) abort_prompt(i, out);
}

void Session::abort_prompt(uint32_t prompt, std::vector<ChoiceDelta>& out) {
  if (phase_ != SessionPhase::kRunning || picks_best()) return;
  const uint32_t first = prompt * n_;
  instance_->engine().cancel(request_id_of(key_, prompt));
  count_aborted(first, first + n_);
  for (uint32_t i = first; i < first + n_; ++i) {
    if (choices_[i].finished()) continue;
    ChoiceDelta so_far{.choice = i, .n_output = choices_[i].n_output()};
    if (so_far.n_output > 0) time_deltas(i, std::span(&so_far, 1));
    choices_[i].abort(so_far.timings, out);
    ++n_ended_;
  }
  if (n_ended_ == n_choices_) phase_ = SessionPhase::kDone;
}

void Session::cancel() { fail({Error{ErrorCode::kCancelled, "the request was cancelled", ""}}); }

double Session::prepare_ms() const {
  const Tick taken = std::max<Tick>(prepared_ - job_->arrival, 0);
  return static_cast<double>(taken) / static_cast<double>(kMillisecond);
}

api::Usage Session::usage() const {
  api::Usage usage;
  const uint32_t block = instance_->block_tokens();
  for (size_t i = 0; i < prompt_lengths_.size(); ++i) {
    const uint32_t whole_blocks = prompt_lengths_[i] / block * block;
    usage.prompt_tokens += prompt_lengths_[i];
    usage.cached_tokens += cached_[i];
    if (instance_->prefix_cache() && whole_blocks > cached_[i]) usage.created_tokens += whole_blocks - cached_[i];
  }
  for (const Choice& choice : choices_) {
    usage.completion_tokens += choice.n_output();
    usage.reasoning_tokens += choice.n_reasoning();
  }
  return usage;
}

void collect(const Session& session, std::vector<ChoiceDelta>& deltas, std::vector<api::ChoiceOutput>& choices) {
  for (ChoiceDelta& delta : deltas) {
    while (choices.size() <= delta.choice) {
      auto index = static_cast<uint32_t>(choices.size());
      choices.push_back({.index = index, .prompt_index = session.prompt_of_choice(index)});
    }
    api::ChoiceOutput& choice = choices[delta.choice];
    if (!delta.text.empty()) api::add_part(choice, api::PartKind::kContent, delta.text, nullptr);
    if (!delta.reasoning.empty()) api::add_part(choice, api::PartKind::kReasoning, delta.reasoning, nullptr);
    if (delta.call) api::add_part(choice, api::PartKind::kCall, {}, &*delta.call);
    choice.token_ids.insert(choice.token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
    std::move(delta.logprobs.begin(), delta.logprobs.end(), std::back_inserter(choice.logprobs));
    if (!delta.finish) continue;
    choice.finish = std::move(*delta.finish);
    choice.timings = delta.timings;
  }
  deltas.clear();
}

namespace {

// Forgets the session at the end, however that comes.
struct Waiting {
  Instance::BlockingNotifier& notifier;
  SessionKey key;
  ~Waiting() { notifier.forget(key); }
};

Result<Answer> generate_and_wait(Instance& instance, Job job, const std::function<bool(const ChoiceDelta&)>& on_delta) {
  Instance::BlockingNotifier& notifier = instance.blocking_notifier();
  Session session(instance, notifier, std::move(job));
  Waiting waiting{notifier, session.key()};
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
  if (told_to_stop) return Error{ErrorCode::kCancelled, "the request was cancelled", ""};
  if (session.phase() == SessionPhase::kFailed) return session.error().error;
  answer.prompts = session.prompts();
  answer.usage = session.usage();
  answer.timings = session.timings();
  return answer;
}

}  // namespace

Result<Answer> generate_blocking(Instance& instance, Job job, const std::function<bool(const ChoiceDelta&)>& on_delta) {
  return or_out_of_memory("generating", ErrorCode::kMemoryPressure,
                          [&] { return generate_and_wait(instance, std::move(job), on_delta); });
}

}  // namespace millrace::instance
