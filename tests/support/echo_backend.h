// EchoBackend: a flow::Backend that answers a prompt with itself. Output token i is prompt token i; after the whole
// prompt comes the end token (unless the request ignores it: then the prompt again). Steps take a chosen time, can be
// held, and can fail, so that servers are tested without a model.
// Thread: submit() by the engine; the switches by any.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "flow/backend.h"

namespace millrace::testing {

// What a test sees of the backend; it may outlive it.
class EchoSwitches {
 public:
  std::atomic<int> step_us{0};                   // time of each step
  std::atomic<TokenId> failing_token{kNoToken};  // a sequence that would say this fails instead
  std::atomic<uint16_t> n_proposed{0};           // tokens proposed behind each sampled one, all of them right
  std::atomic<TokenId> watched_token{kNoToken};  // of the sequences that begin with it steps are counted
  std::atomic<uint64_t> n_watched_steps{0};
  std::atomic<uint64_t> n_steps{0};
  std::atomic<uint64_t> n_rows{0};
  void hold() { run_to(0); }
  void release() { run_to(~uint64_t{0}); }
  // Steps until `n` have been made since the backend began; the next one is held.
  void run_to(uint64_t n) {
    {
      std::lock_guard lock(mutex_);
      last_step_ = n;
    }
    changed_.notify_all();
  }
  void wait_released() {
    std::unique_lock lock(mutex_);
    held_ = true;
    changed_.wait(lock, [&] { return n_steps < last_step_; });
    held_ = false;
  }
  // The step behind n_steps is there and waits.
  bool held() {
    std::lock_guard lock(mutex_);
    return held_ && n_steps >= last_step_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;                  // guarded by mutex_
  uint64_t last_step_ = ~uint64_t{0};  // guarded by mutex_
};

class EchoBackend final : public flow::Backend {
 public:
  EchoBackend(TokenId eos, std::shared_ptr<EchoSwitches> switches) : eos_(eos), switches_(std::move(switches)) {}

  void submit(const flow::StepPlan& plan) override {
    switches_->wait_released();
    auto begin = std::chrono::steady_clock::now();
    if (switches_->step_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(switches_->step_us));
    for (const flow::SlotInit& init : plan.new_slots) {
      slots_[init.slot] = {init.tokens, init.input_len, init.sampling, init.fork};
    }
    flow::StepOutput output;
    output.step = plan.step;
    bool watched = false;
    for (const flow::Share& share : plan.shares) {
      output.shares.push_back(run_share(share));
      const std::vector<TokenId>& tokens = slots_[share.slot].tokens;
      watched = watched || (!tokens.empty() && tokens.front() == switches_->watched_token.load());
    }
    for (flow::SlotId slot : plan.freed_slots) slots_.erase(slot);
    auto took = std::chrono::steady_clock::now() - begin;
    output.took = std::max<Tick>(1, std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
    if (watched) ++switches_->n_watched_steps;
    ++switches_->n_steps;
    switches_->n_rows += plan.n_rows();
    done_.push_back(std::move(output));
  }
  bool done(uint64_t step) override {
    for (const flow::StepOutput& output : done_) {
      if (output.step == step) return true;
    }
    return false;
  }
  flow::StepOutput take_output(uint64_t step) override {
    auto found = std::find_if(done_.begin(), done_.end(), [&](const auto& output) { return output.step == step; });
    flow::StepOutput output = std::move(*found);
    done_.erase(found);
    return output;
  }

 private:
  struct Slot {
    std::vector<TokenId> tokens;
    uint32_t input_len = 0;
    const flow::SamplingParams* sampling = nullptr;
    uint32_t fork = 0;
  };
  // Fork 2 is the most likely one of the first three.
  static flow::PositionLogprobs logprobs_of(TokenId token, int32_t n_top, uint32_t fork = 0) {
    flow::PositionLogprobs out;
    out.chosen = {token, -0.5f + 0.125f * static_cast<float>(fork % 3), 1};
    for (int32_t k = 0; k < n_top; ++k) out.top.push_back({(token + k) % 256, -0.5f - static_cast<float>(k), k + 1});
    return out;
  }
  // What a prompt of byte tokens is read out as: [number of tokens, sum, first, last]; of every token: [token, 1, 0,
  // 0].
  static std::vector<float> pooled(const Slot& slot) {
    std::vector<float> out;
    if (slot.sampling->pooling == flow::Pooling::kNone) return out;
    float sum = 0;
    for (TokenId token : slot.tokens) sum += static_cast<float>(token);
    if (slot.sampling->pooling != flow::Pooling::kTokens) {
      return {static_cast<float>(slot.tokens.size()), sum, static_cast<float>(slot.tokens.front()),
              static_cast<float>(slot.tokens.back())};
    }
    for (TokenId token : slot.tokens) out.insert(out.end(), {static_cast<float>(token), 1.0f, 0.0f, 0.0f});
    return out;
  }
  TokenId next_token(const Slot& slot) const {
    size_t n_output = slot.tokens.size() - slot.input_len;
    bool may_end = !slot.sampling->ignore_eos && n_output >= slot.sampling->min_tokens;
    if (n_output >= slot.input_len && may_end) return eos_;
    return slot.tokens[n_output % slot.input_len];
  }
  flow::ShareResult run_share(const flow::Share& share) {
    Slot& slot = slots_[share.slot];
    flow::ShareResult result;
    result.slot = share.slot;
    result.epoch = share.epoch;
    if (share.prompt_logprobs) {
      for (uint32_t pos = share.ctx; pos < share.ctx + share.q_len && pos + 1 < slot.input_len; ++pos) {
        result.prompt_logprobs.push_back(logprobs_of(slot.tokens[pos + 1], slot.sampling->n_prompt_logprobs));
      }
    }
    if (!share.sample && share.ctx + share.q_len == slot.input_len) result.pooled = pooled(slot);
    if (!share.sample) return result;
    TokenId token = next_token(slot);
    if (token == switches_->failing_token.load()) {
      result.failed = true;
      result.error = {ErrorCode::kNoTokenAllowed, "no token is allowed", ""};
      return result;
    }
    result.token = token;
    slot.tokens.push_back(token);
    if (slot.sampling->n_logprobs >= 0) {
      result.logprobs =
          std::make_unique<flow::PositionLogprobs>(logprobs_of(token, slot.sampling->n_logprobs, slot.fork));
      const std::vector<TokenId>& listed = slot.sampling->logprob_token_ids;
      if (!listed.empty()) result.logprobs->top.clear();
      for (TokenId id : listed) result.logprobs->top.push_back({id, -1.5f, 7});
    }
    result.n_proposed = switches_->n_proposed.load();
    for (uint32_t i = 0; i < share.n_draft && token != eos_; ++i) {
      token = next_token(slot);
      slot.tokens.push_back(token);
      result.further.push_back({token, nullptr});
    }
    return result;
  }

  TokenId eos_;
  std::shared_ptr<EchoSwitches> switches_;
  std::map<flow::SlotId, Slot> slots_;
  std::deque<flow::StepOutput> done_;
};

}  // namespace millrace::testing
