// MemoryTier: a TierStore in memory over FakeWorker's KV, with chance: entries vanish, saves are refused or lost, loads
// take a while and bring less than was asked for. What it does place is exact, so any mix-up changes the text.
// Thread: the test's.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "flow/tier_store.h"
#include "tests/support/fake_worker.h"

namespace millrace::support {

class MemoryTier final : public flow::TierStore {
 public:
  // chance(n): true once in n times.
  MemoryTier(FakeWorker& worker, std::function<bool(uint32_t)> chance) : worker_(worker), chance_(std::move(chance)) {}

  bool faults = true;
  size_t n_placed() const { return n_placed_; }
  size_t n_open_loads() const { return loads_.size(); }
  size_t n_entries() const { return entries_.size(); }
  // What another process left: the entries of `other`, told as a store tells them at its start.
  void find_entries_of(const MemoryTier& other) {
    entries_ = other.entries_;
    for (const auto& [name, entry] : entries_) {
      events_.push_back({.kind = flow::TierEventKind::kStored, .name = name, .kv_groups = entry.block.kv_groups});
    }
  }

  void start(std::function<void()>) override {}
  void stop() override {}
  flow::TierName layout() const override { return {}; }
  uint32_t max_load_blocks() const override { return 64; }
  Tick load_time(uint32_t) const override { return 1; }

  void poll(std::vector<flow::TierEvent>& out) override {
    for (auto& [id, load] : loads_) {
      if (load.staged || (faults && chance_(2))) continue;
      load.staged = true;
      for (const flow::TierBlock& block : load.blocks) {
        auto found = entries_.find(block.name);
        bool right = found != entries_.end() && found->second.block.tokens == block.tokens &&
                     found->second.block.parent == block.parent &&
                     (block.kv_groups & ~found->second.block.kv_groups) == 0;
        if (!right || (faults && chance_(12))) {
          events_.push_back({.kind = flow::TierEventKind::kRemoved, .name = block.name});
          entries_.erase(block.name);
          break;
        }
        load.entries.push_back(found->second);
      }
      events_.push_back(
          {.kind = flow::TierEventKind::kLoaded, .load = id, .n_blocks = static_cast<uint32_t>(load.entries.size())});
    }
    if (faults && chance_(20) && !entries_.empty()) {
      events_.push_back({.kind = flow::TierEventKind::kRemoved, .name = entries_.begin()->first});
      entries_.erase(entries_.begin());
    }
    out.insert(out.end(), events_.begin(), events_.end());
    events_.clear();
  }

  bool save(const flow::TierBlock& block, const std::vector<flow::BlockId>& ids) override {
    if (faults && chance_(10)) return false;
    if (faults && chance_(10)) {  // lost on the way
      events_.push_back({.kind = flow::TierEventKind::kRemoved, .name = block.name});
      return true;
    }
    Entry& entry = entries_[block.name];
    entry.block = block;
    for (uint32_t g = 0; g < ids.size(); ++g) {
      if ((block.kv_groups >> g & 1) != 0) entry.cells[g] = worker_.cells_of(ids[g]);
    }
    events_.push_back({.kind = flow::TierEventKind::kStored, .name = block.name, .kv_groups = block.kv_groups});
    return true;
  }
  uint64_t load(std::vector<flow::TierBlock> blocks) override {
    if (faults && chance_(10)) return 0;
    uint64_t id = next_load_++;
    loads_[id].blocks = std::move(blocks);
    return id;
  }
  void place(uint64_t load, uint32_t index, uint32_t kv_group, flow::BlockId to) override {
    worker_.set_cells(to, loads_.at(load).entries.at(index).cells.at(kv_group));
    ++n_placed_;
  }
  void clear() override { entries_.clear(); }
  void end_load(uint64_t load) override { loads_.erase(load); }

 private:
  struct Entry {
    flow::TierBlock block;
    std::map<uint32_t, std::vector<FakeCell>> cells;  // by KvGroup
  };
  struct Load {
    std::vector<flow::TierBlock> blocks;
    std::vector<Entry> entries;
    bool staged = false;
  };

  FakeWorker& worker_;
  std::function<bool(uint32_t)> chance_;
  std::map<flow::TierName, Entry> entries_;
  std::map<uint64_t, Load> loads_;
  std::vector<flow::TierEvent> events_;
  uint64_t next_load_ = 1;
  size_t n_placed_ = 0;
};

}  // namespace millrace::support
