// RecordedTier: a TierStore whose answers are written to the event log, in the order of the calls. A new engine that is
// played the log makes the same calls, and gets the same answers (src/sim/replay_tier.h). Thread: engine.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "engine/event_log.h"
#include "flow/tier_store.h"

namespace millrace::engine {

class RecordedTier final : public flow::TierStore {
 public:
  RecordedTier(flow::TierStore& store, EventLog& log) : store_(store), log_(log) {}

  void start(std::function<void()> wake) override { store_.start(std::move(wake)); }
  void stop() override { store_.stop(); }
  void poll(std::vector<flow::TierEvent>& out) override {
    size_t before = out.size();
    store_.poll(out);
    log_.add_tier_events(std::span(out).subspan(before));
  }
  flow::TierName layout() const override { return store_.layout(); }
  bool save(const flow::TierBlock& block, const std::vector<flow::BlockId>& ids) override {
    bool saved = store_.save(block, ids);
    log_.add_tier_number(saved ? 1 : 0);
    return saved;
  }
  uint64_t load(std::vector<flow::TierBlock> blocks) override {
    uint64_t id = store_.load(std::move(blocks));
    log_.add_tier_number(id);
    return id;
  }
  uint32_t max_load_blocks() const override { return store_.max_load_blocks(); }
  Tick load_time(uint32_t n_blocks) const override {
    Tick time = store_.load_time(n_blocks);
    log_.add_tier_number(static_cast<uint64_t>(time));
    return time;
  }
  void place(uint64_t load, uint32_t index, uint32_t kv_group, flow::BlockId to) override {
    store_.place(load, index, kv_group, to);
  }
  void clear() override { store_.clear(); }
  void end_load(uint64_t load) override { store_.end_load(load); }
  flow::TierTraffic traffic() const override { return store_.traffic(); }

 private:
  flow::TierStore& store_;
  EventLog& log_;
};

}  // namespace millrace::engine
