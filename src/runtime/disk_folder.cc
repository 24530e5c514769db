#include "runtime/disk_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/file.h"
#include "base/macros.h"
#include "runtime/disk_record.h"

namespace millrace::runtime {
namespace {

constexpr std::string_view kAside = "aside-";
constexpr const char* kLockFile = "lock";
constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 32;

Error refused(const std::string& path, std::string_view what) {
  return {ErrorCode::kResource, fmt::format("KV cache folder {}: {}", quote_for_message(path, 256), what),
          "--kv-disk-path"};
}

// Removed at the end; when it was renamed nothing of its name is there.
struct Aside {
  std::string path;
  ~Aside() { ::unlink(path.c_str()); }
};

Error failed(const std::string& path, const char* what) {
  return {ErrorCode::kIo, fmt::format("{}: {}: {}", path, what, std::strerror(errno)), path};
}

Result<void> check_folder(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return refused(path, std::strerror(errno));
  if (S_ISLNK(info.st_mode)) return refused(path, "is a link, want a folder");
  if (!S_ISDIR(info.st_mode)) return refused(path, "is not a folder");
  if (info.st_uid != ::geteuid()) return refused(path, "belongs to another user");
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) return refused(path, "can be written by others");
  if (::access(path.c_str(), R_OK | W_OK | X_OK) != 0) return refused(path, std::strerror(errno));
  return {};
}

// Held as long as the descriptor is open.
Result<int> lock_folder(const std::string& path) {
  std::string name = path + "/" + kLockFile;
  int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return refused(path, fmt::format("lock file: {}", std::strerror(errno)));
  (void)FAULT_POINT("spill.lock.before");
  std::string pid = fmt::format("{}\n", ::getpid());
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    char other[16] = {};
    ssize_t n = ::pread(fd, other, sizeof(other) - 1, 0);
    ::close(fd);
    std::string_view text(other, static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return refused(path, fmt::format("already used by pid {}", text.substr(0, text.find('\n'))));
  }
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    ::close(fd);
    return refused(path, fmt::format("lock file: {}", std::strerror(errno)));
  }
  (void)FAULT_POINT("spill.lock.after");
  return fd;
}

}  // namespace

size_t DiskFolder::NameHash::operator()(const flow::TierName& name) const {
  size_t hash = 0;
  std::memcpy(&hash, name.data(), sizeof(hash));
  return hash;
}

Result<std::unique_ptr<DiskFolder>> DiskFolder::open(const std::string& path, uint64_t max_bytes) {
  TRY(check_folder(path));
  int fd = TRY(lock_folder(path));
  std::unique_ptr<DiskFolder> folder(new DiskFolder(path, max_bytes, fd));
  TRY(folder->scan());
  return folder;
}

DiskFolder::~DiskFolder() { ::close(lock_fd_); }

std::string DiskFolder::file(const Entry& entry) const {
  return path_ + "/" + record_file_name(entry.name, entry.kv_groups);
}

// Files of other names than ours are left alone. A folder that cannot be listed in full is not used: what it holds
// would not count.
Result<void> DiskFolder::scan() {
  struct Found {
    int64_t used_ns = 0;
    Entry entry;
  };
  std::vector<Found> found;
  DIR* dir = ::opendir(path_.c_str());
  if (dir == nullptr) return refused(path_, std::strerror(errno));
  errno = 0;  // readdir() says by it alone that it failed
  for (const dirent* row = ::readdir(dir); row != nullptr; errno = 0, row = ::readdir(dir)) {
    std::string_view name = row->d_name;
    std::string at = path_ + "/" + std::string(name);
    if (name.starts_with(kAside)) {
      ::unlink(at.c_str());
      (void)FAULT_POINT("spill.sweep.some");
      continue;
    }
    auto parsed = parse_record_file_name(name);
    struct stat info {};
    if (!parsed.ok() || ::lstat(at.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    int64_t used = int64_t{info.st_mtim.tv_sec} * kSecond + info.st_mtim.tv_nsec;
    found.push_back({used, {parsed->name, parsed->kv_groups, static_cast<uint64_t>(info.st_size)}});
  }
  int unread = errno;
  ::closedir(dir);
  if (unread != 0) return refused(path_, std::strerror(unread));
  std::ranges::sort(found, [](const Found& a, const Found& b) {
    return std::tie(a.used_ns, a.entry.name) < std::tie(b.used_ns, b.entry.name);
  });
  for (const Found& each : found) insert(each.entry);
  while (bytes_ > max_bytes_ && !entries_.empty()) {
    remove_at(entries_.begin());
    (void)FAULT_POINT("spill.trim.some");
  }
  return {};
}

void DiskFolder::insert(const Entry& entry) {
  if (auto known = by_name_.find(entry.name); known != by_name_.end()) remove_at(known->second);
  entries_.push_back(entry);
  try {
    by_name_[entry.name] = std::prev(entries_.end());
  } catch (const std::bad_alloc&) {
    entries_.pop_back();
    throw;
  }
  bytes_ += entry.bytes;
}

void DiskFolder::remove_at(Place place) {
  ::unlink(file(*place).c_str());
  bytes_ -= place->bytes;
  by_name_.erase(place->name);
  entries_.erase(place);
}

// Not base's atomic write: that waits for the disk. An entry that a power cut takes is a miss, by its checksum.
Result<void> DiskFolder::write(const flow::TierName& name, uint32_t kv_groups, std::span<const uint8_t> bytes,
                               std::vector<flow::TierName>& removed) {
  if (bytes.size() > max_bytes_) return Error{ErrorCode::kIo, "an entry is larger than the whole folder may be", ""};
  while (bytes_ + bytes.size() > max_bytes_) {
    removed.push_back(entries_.front().name);
    remove_at(entries_.begin());
    (void)FAULT_POINT("spill.evict.some");
  }
  Entry entry{.name = name, .kv_groups = kv_groups, .bytes = bytes.size()};
  const std::string target = file(entry);
  Aside aside{fmt::format("{}/{}{}-{}", path_, kAside, ::getpid(), n_aside_++)};
  Descriptor out(::open(aside.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (out.fd < 0) return failed(path_, "open");
  (void)FAULT_POINT("spill.open.after");
  TRY(write_all(out.fd, bytes, path_));
  if (::close(std::exchange(out.fd, -1)) != 0) return failed(path_, "close");
  if (auto known = by_name_.find(name); known != by_name_.end()) remove_at(known->second);
  (void)FAULT_POINT("spill.rename.before");
  if (FAULT_POINT("kv_disk.rename") || ::rename(aside.path.c_str(), target.c_str()) != 0)
    return failed(path_, "rename");
  (void)FAULT_POINT("spill.rename.after");
  insert(entry);
  return {};
}

Result<std::vector<uint8_t>> DiskFolder::read(const flow::TierName& name) {
  auto known = by_name_.find(name);
  if (known == by_name_.end()) return Error{ErrorCode::kNotFound, "no such entry", ""};
  std::string path = file(*known->second);
  Descriptor in(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (in.fd < 0) return failed(path, "open");
  struct stat info {};
  bool sane =
      ::fstat(in.fd, &info) == 0 && S_ISREG(info.st_mode) && static_cast<uint64_t>(info.st_size) < kMaxRecordBytes;
  std::vector<uint8_t> bytes(sane ? static_cast<size_t>(info.st_size) : 0);
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n = ::read(in.fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  ::futimens(in.fd, nullptr);  // used now; that it may fail harms nothing
  if (!sane || done < bytes.size()) return Error{ErrorCode::kIo, fmt::format("{}: short read", path), path};
  (void)FAULT_POINT("spill.read.after");
  entries_.splice(entries_.end(), entries_, known->second);
  return bytes;
}

void DiskFolder::remove(const flow::TierName& name) {
  if (auto known = by_name_.find(name); known != by_name_.end()) remove_at(known->second);
}

void DiskFolder::clear() {
  while (!entries_.empty()) {
    remove_at(entries_.begin());
    (void)FAULT_POINT("spill.clear.some");
  }
}

}  // namespace millrace::runtime
