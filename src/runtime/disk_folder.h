// DiskFolder: the files of the disk tier: whole reads, atomic writes, a size limit with least recently used eviction, a
// lock. Knows names and sizes, not contents.
// Thread: one at a time.
#pragma once

#include <list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "flow/tier_store.h"

namespace millrace::runtime {

class DiskFolder {
 public:
  struct Entry {
    flow::TierName name = {};
    uint32_t kv_groups = 0;
    uint64_t bytes = 0;
  };

  // Checks and locks the folder, removes what earlier processes left aside, and trims it to max_bytes. kResource with
  // what is wrong: missing, a link, of another owner, writable by others, in use by another process.
  static Result<std::unique_ptr<DiskFolder>> open(const std::string& path, uint64_t max_bytes);
  ~DiskFolder();
  DiskFolder(const DiskFolder&) = delete;
  DiskFolder& operator=(const DiskFolder&) = delete;

  uint64_t bytes() const { return bytes_; }
  // Oldest first.
  const std::list<Entry>& entries() const { return entries_; }

  // Makes room, removing the least recently used entries (their names are appended to `removed`), then writes the file
  // aside and renames it. kIo, and nothing changed but the room made, when the system refuses.
  Result<void> write(const flow::TierName& name, uint32_t kv_groups, std::span<const uint8_t> bytes,
                     std::vector<flow::TierName>& removed);
  // The whole file; it becomes the most recently used. kNotFound or kIo.
  Result<std::vector<uint8_t>> read(const flow::TierName& name);
  void remove(const flow::TierName& name);
  void clear();

 private:
  struct NameHash {
    size_t operator()(const flow::TierName& name) const;
  };
  using Place = std::list<Entry>::iterator;

  DiskFolder(std::string path, uint64_t max_bytes, int lock_fd)
      : path_(std::move(path)), max_bytes_(max_bytes), lock_fd_(lock_fd) {}
  Result<void> scan();
  void insert(const Entry& entry);
  void remove_at(Place place);
  std::string file(const Entry& entry) const;

  std::string path_;
  uint64_t max_bytes_;
  int lock_fd_;
  uint64_t bytes_ = 0;
  uint64_t n_aside_ = 0;
  std::list<Entry> entries_;  // oldest first
  std::unordered_map<flow::TierName, Place, NameHash> by_name_;
};

}  // namespace millrace::runtime
