// ReplayTier: a TierStore without bytes that gives the answers of a recorded one. An answer of another kind than was
// asked for, or none, ends the comparison: from there on nothing is below the pool. Thread: one.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "engine/event_reader.h"

namespace millrace::sim {

class ReplayTier final : public flow::TierStore {
 public:
  // `differ` is told what does not fit.
  ReplayTier(const engine::RecordedSetup& setup, std::function<void(std::string)> differ)
      : layout_(setup.tier_layout),
        max_load_blocks_(setup.tier_max_load_blocks),
        n_groups_(setup.options.kv.groups.size()),
        differ_(std::move(differ)) {}

  void begin(std::vector<engine::RecordedAnswer>& answers) {
    answers_ = &answers;
    next_ = 0;
  }
  void finish() {
    if (next_ < answers_->size()) differ_("answers of the tier are left over");
  }

  void start(std::function<void()>) override {}
  void stop() override {}
  void poll(std::vector<flow::TierEvent>& out) override {
    engine::RecordedAnswer* answer = take(engine::TierAnswer::kEvents);
    if (answer == nullptr) return;
    for (flow::TierEvent& event : answer->events) {
      event.kv_groups &= (uint32_t{1} << n_groups_) - 1;
      if (event.kind != flow::TierEventKind::kLoaded || std::erase(open_, event.load) > 0) {
        out.push_back(event);
      } else {
        differ_("a load is over that was not begun");
      }
    }
  }
  flow::TierName layout() const override { return layout_; }
  bool save(const flow::TierBlock&, const std::vector<flow::BlockId>&) override { return number() == 1; }
  uint64_t load(std::vector<flow::TierBlock>) override {
    uint64_t id = number();
    if (id != 0) open_.push_back(id);
    return id;
  }
  uint32_t max_load_blocks() const override { return max_load_blocks_; }
  Tick load_time(uint32_t) const override { return static_cast<Tick>(number()); }
  void place(uint64_t, uint32_t, uint32_t, flow::BlockId) override {}
  void clear() override {}
  void end_load(uint64_t) override {}

 private:
  engine::RecordedAnswer* take(engine::TierAnswer kind) const {
    bool fits = answers_ != nullptr && next_ < answers_->size() && (*answers_)[next_].kind == kind;
    if (fits) return &(*answers_)[next_++];
    differ_("the tier is asked for what it was not asked for then");
    return nullptr;
  }
  uint64_t number() const {
    const engine::RecordedAnswer* answer = take(engine::TierAnswer::kNumber);
    return answer == nullptr ? 0 : answer->number;
  }

  flow::TierName layout_;
  uint32_t max_load_blocks_;
  size_t n_groups_;
  std::function<void(std::string)> differ_;
  std::vector<uint64_t> open_;  // loads begun and not over
  std::vector<engine::RecordedAnswer>* answers_ = nullptr;
  mutable size_t next_ = 0;
};

}  // namespace millrace::sim
