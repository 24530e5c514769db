// DiskStore: the disk tier. One file per entry in one folder (runtime/disk_folder.h); a thread of its own reads, writes
// and removes.
//  1. A file is trusted for nothing: layout, prefix, tokens and checksum are compared before a byte is used; what fails
//     is removed and is a miss. So nothing is synced to the device: after a power cut torn files are misses.
//  2. A file with its final name was written whole; a process killed at any point leaves at most one "aside" file,
//  which
//     the next start removes.
//  3. The files together hold at most max_bytes, those of other models too: the least recently used goes first. Use is
//     kept in the file times, so the order survives a restart.
//  4. After a failed write nothing is written for kPauseAfterFailure; reads go on.
// Thread: the TierStore calls: engine. open() and destruction: one.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "flow/tier_store.h"
#include "runtime/disk_folder.h"
#include "runtime/disk_record.h"

namespace millrace::runtime {

constexpr Tick kPauseAfterFailure = 10 * kSecond;

struct DiskOptions {
  std::string folder;
  uint64_t max_bytes = 0;
  uint64_t staging_bytes = 64 << 20;  // most memory of copies on their way down, and as much on their way up
  RecordLayout layout;
};

struct DiskTotals {
  uint64_t n_stored = 0;
  uint64_t n_loaded = 0;
  uint64_t n_rejected = 0;  // files that were damaged, gone, or not what their name says
  uint64_t n_failed = 0;    // writes that the system refused
  uint64_t bytes = 0;       // in files now
  flow::TierTraffic traffic;
};

class DiskStore final : public flow::TierStore {
 public:
  // Gives the bytes of a block of the pool, [block_bytes].
  using BlockBytes = std::function<std::span<uint8_t>(flow::BlockId)>;

  // kResource with the folder and what is wrong with it.
  static Result<std::unique_ptr<DiskStore>> open(const DiskOptions& options, BlockBytes block_bytes);
  // Writes what save() accepted.
  ~DiskStore() override;

  void start(std::function<void()> wake) override;
  void stop() override;
  void poll(std::vector<flow::TierEvent>& out) override;
  flow::TierName layout() const override { return options_.layout.layout; }
  bool save(const flow::TierBlock& block, const std::vector<flow::BlockId>& ids) override;
  uint64_t load(std::vector<flow::TierBlock> blocks) override;
  uint32_t max_load_blocks() const override;
  Tick load_time(uint32_t n_blocks) const override;
  void place(uint64_t load, uint32_t index, uint32_t kv_group, flow::BlockId to) override;
  void clear() override;
  void end_load(uint64_t load) override;
  flow::TierTraffic traffic() const override { return totals().traffic; }

  // Thread: any.
  DiskTotals totals() const;
  // Thread: any. Waits until all that was asked for so far is done.
  void drain();

 private:
  struct Save {
    flow::TierName name = {};
    uint32_t kv_groups = 0;
    std::vector<uint8_t> record;
  };
  struct Load {
    uint64_t id = 0;
    std::vector<flow::TierBlock> blocks;
    std::vector<std::vector<uint8_t>> records;  // [blocks staged]
    std::vector<uint32_t> kv_groups;            // [blocks staged] what the record holds
    uint64_t bytes = 0;
  };
  using LoadPtr = std::unique_ptr<Load>;

  // Everything both threads touch.
  struct Shared {
    std::deque<Save> saves;
    std::deque<LoadPtr> to_load;
    std::map<uint64_t, LoadPtr> staged;  // empty until it is
    std::vector<flow::TierEvent> events;
    std::function<void()> wake;
    DiskTotals totals;
    uint64_t save_bytes = 0;  // of `saves` and the one being written
    uint64_t load_bytes = 0;  // of all loads not ended
    uint64_t next_load = 1;
    Tick paused_until = 0;
    double ns_per_byte = 1.0;  // of loads: 1 GB/s until measured
    bool working = false;
    bool clearing = false;
    bool stopping = false;
  };

  DiskStore(DiskOptions options, BlockBytes block_bytes, std::unique_ptr<DiskFolder> folder);
  void copy_down(const flow::TierBlock& block, const std::vector<flow::BlockId>& ids);
  uint64_t begin_load(std::vector<flow::TierBlock> blocks);
  void work();
  void do_save(Save save);
  void do_load(LoadPtr load);
  Result<std::vector<uint8_t>> waiting_record(const flow::TierName& name) const;
  bool read_block(Load& load, const flow::TierBlock& block);
  uint64_t load_bytes(const std::vector<flow::TierBlock>& blocks) const;
  void report(std::vector<flow::TierEvent> events);

  const DiskOptions options_;
  const BlockBytes block_bytes_;
  const SystemClock clock_;
  std::unique_ptr<DiskFolder> folder_;  // worker thread
  mutable std::mutex mutex_;
  std::mutex wake_mutex_;  // held while `wake` is called; taken before mutex_
  std::condition_variable changed_;
  Shared shared_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace millrace::runtime
