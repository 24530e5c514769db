#include "sim/replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <unordered_set>
#include <utility>

#include "base/macros.h"
#include "engine/event_reader.h"
#include "sim/replay_tier.h"

namespace millrace::sim {
namespace {

class ReplayClock final : public Clock {
 public:
  Tick now() const override { return now_; }
  void set(Tick at) { now_ = at; }

 private:
  Tick now_ = 0;
};

// Gives the recorded outputs when they were given, and compares the plans.
class ReplayBackend final : public flow::Backend {
 public:
  ReplayBackend(ReplayClock& clock, ReplayReport& report) : clock_(clock), report_(report) {}

  void begin(engine::RecordedStep& step) {
    step_ = &step;
    next_output_ = 0;
    planned_ = false;
  }
  void finish() {
    if (!planned_ && step_->state_hash) differ("no plan where one was made");
    if (next_output_ < step_->outputs.size()) differ("outputs are left over");
  }

  void differ(std::string text) {
    if (!report_.difference) report_.difference = fmt::format("call {}: {}", report_.n_calls, text);
  }

  void submit(const flow::StepPlan& plan) override {
    planned_ = true;
    ++report_.n_plans;
    report_.plans_hash = report_.plans_hash * 0x100000001b3 ^ plan.state_hash;
    n_shares_.push_back(plan.shares.size());
    if (!step_->state_hash) {
      differ(fmt::format("step {} is planned where nothing was", plan.step));
    } else if (*step_->state_hash != plan.state_hash) {
      differ(fmt::format("step {}: plan {:016x}, recorded {:016x}", plan.step, plan.state_hash, *step_->state_hash));
    }
  }
  bool done(uint64_t step) override {
    if (report_.difference || next_output_ == step_->outputs.size()) return false;
    const flow::StepOutput& next = step_->outputs[next_output_].output;
    if (next.step != step) return false;
    if (!next.ok || next.shares.size() == n_shares_.front()) return true;
    differ(fmt::format("step {}: {} results for {} shares", step, next.shares.size(), n_shares_.front()));
    return false;
  }
  flow::StepOutput take_output(uint64_t) override {
    n_shares_.pop_front();
    engine::RecordedOutput& recorded = step_->outputs[next_output_++];
    clock_.set(recorded.now);
    return std::move(recorded.output);
  }

 private:
  ReplayClock& clock_;
  ReplayReport& report_;
  engine::RecordedStep* step_ = nullptr;
  size_t next_output_ = 0;
  std::deque<size_t> n_shares_;  // of the steps in flight
  bool planned_ = false;
};

class StepList final : public engine::StepObserver {
 public:
  explicit StepList(std::vector<engine::StepRecord>& out) : out_(out) {}
  void on_step(const engine::StepRecord& record) override { out_.push_back(record); }

 private:
  std::vector<engine::StepRecord>& out_;
};

class NoSink final : public flow::EventSink {
 public:
  void deliver(std::span<flow::TokenEvent>) override {}
};

Result<void> send(engine::Engine& engine, engine::Message& message) {
  switch (message.kind) {
    case engine::MessageKind::kSubmit:
      return engine.submit(std::move(*message.request));
    case engine::MessageKind::kCancel:
      engine.cancel(message.id);
      break;
    case engine::MessageKind::kCancelFork:
      engine.cancel_fork(message.id, message.fork);
      break;
    case engine::MessageKind::kPark:
      engine.park(message.id);
      break;
    case engine::MessageKind::kResume:
      engine.resume(message.id);
      break;
    case engine::MessageKind::kResetPrefixCache:
      engine.reset_prefix_cache();
      break;
    case engine::MessageKind::kBeginDrain:
      engine.begin_drain();
      break;
    case engine::MessageKind::kStop:
      engine.stop();
      break;
    case engine::MessageKind::kSession:
      engine.session(std::move(message.session));
      break;
  }
  return {};
}

}  // namespace

PredictionError prediction_error(std::span<const engine::StepRecord> steps) {
  std::vector<double> off;
  for (const engine::StepRecord& step : steps) {
    if (!step.ok || step.predicted == 0 || step.took == 0) continue;
    off.push_back(std::abs(static_cast<double>(step.predicted - step.took)) / static_cast<double>(step.took));
  }
  if (off.empty()) return {};
  std::ranges::sort(off);
  return {.median = off[off.size() / 2], .p95 = off[off.size() * 95 / 100]};
}

std::string steps_csv(std::span<const engine::StepRecord> steps) {
  std::string out = "step,planned_us,prefill_rows,decode_rows,prefill_context,decode_context,predicted_us,took_us\n";
  for (const engine::StepRecord& step : steps) {
    const sched::StepShape& shape = step.shape;
    out += fmt::format("{},{},{},{},{},{},{},{}\n", step.step, step.planned_at / kMicrosecond, shape.n_prefill,
                       shape.n_decode, shape.ctx_prefill, shape.ctx_decode, step.predicted / kMicrosecond,
                       step.took / kMicrosecond);
  }
  return out;
}

Result<ReplayReport> replay(std::span<const uint8_t> log, flow::EventSink* sink) {
  engine::EventReader reader = TRY(engine::EventReader::open(log));
  ReplayReport report;
  ReplayClock clock;
  ReplayBackend backend(clock, report);
  NoSink nobody;
  engine::EngineOptions options = reader.setup().options;
  options.max_queued_requests = UINT32_MAX;
  ReplayTier tier(reader.setup(), [&backend](std::string text) { backend.differ(std::move(text)); });
  if (reader.setup().has_tier) options.tier = &tier;
  if (reader.setup().sessions) options.block_bytes = [](flow::BlockId) { return std::span<uint8_t>(); };
  StepList steps(report.steps);
  engine::Engine engine(options, backend, sink != nullptr ? *sink : nobody, clock, &steps);
  std::unordered_set<flow::RequestId> ids;
  while (!report.difference) {
    std::optional<engine::RecordedStep> step = TRY(reader.next());
    if (!step) break;
    ++report.n_calls;
    clock.set(step->now);
    for (engine::Message& message : step->messages) {
      bool submit = message.kind == engine::MessageKind::kSubmit;
      if (submit && !ids.insert(message.id).second) {
        return Error{ErrorCode::kBadFile, fmt::format("event log: request {} comes twice", message.id), ""};
      }
      report.n_requests += submit ? 1u : 0u;
      TRY(send(engine, message));
    }
    backend.begin(*step);
    tier.begin(step->answers);
    engine.step();
    backend.finish();
    tier.finish();
  }
  report.complete = reader.complete();
  report.stats = engine.stats();
  return report;
}

}  // namespace millrace::sim
