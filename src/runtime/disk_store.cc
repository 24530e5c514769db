#include "runtime/disk_store.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <new>
#include <thread>
#include <utility>

#include "base/macros.h"
#include "base/out_of_memory.h"

namespace millrace::runtime {
namespace {

// For what must not be lost: the thread of the disk can wait until memory is there.
template <class Work>
void until_there_is_memory(Work&& work) {
  while (true) {
    try {
      work();
      return;
    } catch (const std::bad_alloc&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

// What cannot be read for lack of memory is a miss.
template <class Work>
bool or_miss(Work&& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace

Result<std::unique_ptr<DiskStore>> DiskStore::open(const DiskOptions& options, BlockBytes block_bytes) {
  std::unique_ptr<DiskFolder> folder = TRY(DiskFolder::open(options.folder, options.max_bytes));
  return std::unique_ptr<DiskStore>(new DiskStore(options, std::move(block_bytes), std::move(folder)));
}

DiskStore::DiskStore(DiskOptions options, BlockBytes block_bytes, std::unique_ptr<DiskFolder> folder)
    : options_(std::move(options)), block_bytes_(std::move(block_bytes)), folder_(std::move(folder)) {
  for (const DiskFolder::Entry& entry : folder_->entries()) {
    shared_.events.push_back({.name = entry.name, .kv_groups = entry.kv_groups});
  }
  shared_.totals.bytes = folder_->bytes();
  thread_ = std::thread([this] { work(); });
}

DiskStore::~DiskStore() {
  {
    std::lock_guard lock(mutex_);
    shared_.stopping = true;
  }
  changed_.notify_all();
  thread_.join();
}

void DiskStore::start(std::function<void()> wake) {
  std::scoped_lock lock(wake_mutex_, mutex_);
  shared_.wake = std::move(wake);
}

void DiskStore::stop() { start(nullptr); }

void DiskStore::poll(std::vector<flow::TierEvent>& out) {
  std::lock_guard lock(mutex_);
  out.insert(out.end(), shared_.events.begin(), shared_.events.end());
  shared_.events.clear();
}

bool DiskStore::save(const flow::TierBlock& block, const std::vector<flow::BlockId>& ids) {
  uint64_t bytes = record_bytes(options_.layout, block.kv_groups);
  {
    std::lock_guard lock(mutex_);
    bool full = shared_.save_bytes > 0 && shared_.save_bytes + bytes > options_.staging_bytes;
    if (full || clock_.now() < shared_.paused_until) return false;
    shared_.save_bytes += bytes;
  }
  try {
    copy_down(block, ids);
  } catch (const std::bad_alloc&) {
    std::lock_guard lock(mutex_);
    shared_.save_bytes -= std::min(shared_.save_bytes, bytes);
    return false;
  }
  changed_.notify_all();
  return true;
}

void DiskStore::copy_down(const flow::TierBlock& block, const std::vector<flow::BlockId>& ids) {
  Save save{.name = block.name, .kv_groups = block.kv_groups, .record = begin_record(options_.layout, block)};
  uint8_t* to = save.record.data() + record_data_offset(options_.layout);
  for (size_t g = 0; g < ids.size(); ++g) {
    if ((block.kv_groups >> g & 1) == 0) continue;
    std::span<uint8_t> from = block_bytes_(ids[g]);
    std::memcpy(to, from.data(), from.size());
    to += from.size();
  }
  {
    std::lock_guard lock(mutex_);
    shared_.saves.push_back(std::move(save));
  }
}

uint64_t DiskStore::load_bytes(const std::vector<flow::TierBlock>& blocks) const {
  uint64_t bytes = 0;
  for (const flow::TierBlock& block : blocks) bytes += record_bytes(options_.layout, block.kv_groups);
  return bytes;
}

uint64_t DiskStore::load(std::vector<flow::TierBlock> blocks) {
  try {
    return begin_load(std::move(blocks));
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

uint64_t DiskStore::begin_load(std::vector<flow::TierBlock> blocks) {
  auto load = std::make_unique<Load>();
  load->records.reserve(blocks.size());
  load->kv_groups.reserve(blocks.size());
  load->bytes = load_bytes(blocks);
  load->blocks = std::move(blocks);
  uint64_t id = 0;
  {
    std::lock_guard lock(mutex_);
    if (shared_.load_bytes > 0 && shared_.load_bytes + load->bytes > options_.staging_bytes) return 0;
    id = load->id = shared_.next_load;
    uint64_t bytes = load->bytes;
    shared_.staged.emplace(id,
                           nullptr);  // its place: the thread of the disk then allocates nothing that it must not lose
    try {
      shared_.to_load.push_back(std::move(load));
    } catch (const std::bad_alloc&) {
      shared_.staged.erase(id);
      throw;
    }
    ++shared_.next_load;
    shared_.load_bytes += bytes;
  }
  changed_.notify_all();
  return id;
}

uint32_t DiskStore::max_load_blocks() const {
  return static_cast<uint32_t>(std::max<uint64_t>(1, options_.staging_bytes / options_.layout.block_bytes));
}

Tick DiskStore::load_time(uint32_t n_blocks) const {
  constexpr Tick kSetup = kMillisecond;
  std::lock_guard lock(mutex_);
  double bytes = static_cast<double>(options_.layout.block_bytes) * n_blocks;
  return kSetup + static_cast<Tick>(shared_.ns_per_byte * bytes);
}

void DiskStore::place(uint64_t load, uint32_t index, uint32_t kv_group, flow::BlockId to) {
  const Load* staged = nullptr;
  {
    std::lock_guard lock(mutex_);
    staged = shared_.staged.at(load).get();
  }
  CHECK(staged != nullptr, "load {} is not staged", load);
  CHECK(index < staged->records.size(), "block {} of load {}, {} are staged", index, load, staged->records.size());
  uint32_t groups = staged->kv_groups[index];
  CHECK((groups >> kv_group & 1) != 0, "KvGroup {} of block {} of load {} is not staged", kv_group, index, load);
  auto before = static_cast<size_t>(std::popcount(groups & ((uint32_t{1} << kv_group) - 1)));
  std::span<uint8_t> out = block_bytes_(to);
  const uint8_t* from = staged->records[index].data() + record_data_offset(options_.layout);
  std::memcpy(out.data(), from + before * out.size(), out.size());
}

void DiskStore::end_load(uint64_t load) {
  std::lock_guard lock(mutex_);
  auto found = shared_.staged.find(load);
  CHECK(found != shared_.staged.end() && found->second != nullptr, "load {} is not staged", load);
  shared_.load_bytes -= found->second->bytes;
  shared_.staged.erase(found);
}

void DiskStore::clear() {
  {
    std::lock_guard lock(mutex_);
    shared_.clearing = true;
  }
  changed_.notify_all();
}

DiskTotals DiskStore::totals() const {
  std::lock_guard lock(mutex_);
  return shared_.totals;
}

void DiskStore::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] {
    return shared_.saves.empty() && shared_.to_load.empty() && !shared_.working && !shared_.clearing;
  });
}

// --- worker thread

void DiskStore::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] {
      return shared_.stopping || shared_.clearing || !shared_.saves.empty() || !shared_.to_load.empty();
    });
    shared_.working = true;
    if (shared_.clearing) {
      shared_.save_bytes = 0;
      shared_.saves.clear();
      lock.unlock();
      until_there_is_memory([&] { folder_->clear(); });
      lock.lock();
      shared_.clearing = false;
    } else if (!shared_.to_load.empty() && !shared_.stopping) {  // somebody waits for loads
      LoadPtr load = std::move(shared_.to_load.front());
      shared_.to_load.pop_front();
      lock.unlock();
      do_load(std::move(load));
      lock.lock();
    } else if (!shared_.saves.empty()) {
      Save save = std::move(shared_.saves.front());
      shared_.saves.pop_front();
      lock.unlock();
      do_save(std::move(save));
      lock.lock();
    } else if (shared_.stopping) {
      return;
    }
    shared_.working = false;
    shared_.totals.bytes = folder_->bytes();
    changed_.notify_all();
  }
}

void DiskStore::do_save(Save save) {
  std::vector<flow::TierName> removed;
  (void)FAULT_POINT("spill.save.before");
  seal_record(save.record);
  Result<void> written = or_out_of_memory("writing an entry", ErrorCode::kIo, [&] {
    return folder_->write(save.name, save.kv_groups, save.record, removed);
  });
  (void)FAULT_POINT("spill.save.after");
  std::vector<flow::TierEvent> events;
  until_there_is_memory([&] { events.reserve(removed.size() + 1); });
  for (const flow::TierName& name : removed) events.push_back({.kind = flow::TierEventKind::kRemoved, .name = name});
  flow::TierEventKind outcome = written.ok() ? flow::TierEventKind::kStored : flow::TierEventKind::kRemoved;
  events.push_back({.kind = outcome, .name = save.name, .kv_groups = save.kv_groups});
  if (!written.ok()) {
    until_there_is_memory([&] {
      LOG(LogLevel::kWarning, "KV cache on disk: {}; nothing is written for {} s", written.error().message,
          kPauseAfterFailure / kSecond);
    });
  }
  {
    std::lock_guard lock(mutex_);
    shared_.save_bytes -= std::min<uint64_t>(shared_.save_bytes, save.record.size());
    ++(written.ok() ? shared_.totals.n_stored : shared_.totals.n_failed);
    if (written.ok()) shared_.totals.traffic.bytes_out += save.record.size();
    if (!written.ok()) shared_.paused_until = clock_.now() + kPauseAfterFailure;
  }
  report(std::move(events));
}

// What waits to be written: a preempted sequence may ask for its blocks sooner than that.
Result<std::vector<uint8_t>> DiskStore::waiting_record(const flow::TierName& name) const {
  std::lock_guard lock(mutex_);
  auto found = std::ranges::find(shared_.saves, name, &Save::name);
  if (found == shared_.saves.end()) return Error{ErrorCode::kNotFound, "nothing of that name waits", ""};
  std::vector<uint8_t> record = found->record;
  seal_record(record);
  return record;
}

bool DiskStore::read_block(Load& load, const flow::TierBlock& block) {
  Result<std::vector<uint8_t>> record = waiting_record(block.name);
  if (!record.ok()) record = folder_->read(block.name);
  if (!record.ok() && record.error().code == ErrorCode::kNotFound) return false;  // made room for others
  Result<uint32_t> groups = record.ok() ? check_record(*record, options_.layout, block) : record.error();
  if (!groups.ok()) {
    LOG(LogLevel::kWarning, "KV cache on disk: an entry is not used: {}", groups.error().message);
    std::lock_guard lock(mutex_);
    ++shared_.totals.traffic.n_damaged;
    return false;
  }
  load.records.push_back(std::move(record).value());
  load.kv_groups.push_back(*groups);
  return true;
}

void DiskStore::do_load(LoadPtr load) {
  Tick begin = clock_.now();
  std::vector<flow::TierEvent> events;
  uint64_t bytes = 0;
  until_there_is_memory([&] { events.reserve(2); });
  for (const flow::TierBlock& block : load->blocks) {
    bool read = or_miss([&] { return read_block(*load, block); });
    if (!read) {
      until_there_is_memory([&] { folder_->remove(block.name); });
      (void)FAULT_POINT("spill.reject.after");
      events.push_back({.kind = flow::TierEventKind::kRemoved, .name = block.name});
      break;
    }
    bytes += load->records.back().size();
  }
  (void)FAULT_POINT("spill.load.staged");
  events.push_back({.kind = flow::TierEventKind::kLoaded,
                    .load = load->id,
                    .n_blocks = static_cast<uint32_t>(load->records.size())});
  {
    std::lock_guard lock(mutex_);
    shared_.totals.n_loaded += load->records.size();
    shared_.totals.traffic.bytes_in += bytes;
    if (load->records.size() < load->blocks.size()) ++shared_.totals.n_rejected;
    if (bytes > 0) {
      double rate = static_cast<double>(clock_.now() - begin) / static_cast<double>(bytes);
      shared_.ns_per_byte += (rate - shared_.ns_per_byte) / 4;
    }
    shared_.staged.at(load->id) = std::move(load);
  }
  report(std::move(events));
}

void DiskStore::report(std::vector<flow::TierEvent> events) {
  std::lock_guard wake_lock(wake_mutex_);
  std::function<void()> wake;
  until_there_is_memory([&] {
    std::lock_guard lock(mutex_);
    wake = shared_.wake;
    shared_.events.insert(shared_.events.end(), events.begin(), events.end());
  });
  if (wake) wake();
}

}  // namespace millrace::runtime
