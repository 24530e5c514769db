// FileWatch: whether files have changed, looked at about once a second. A change is told once the files have been the
// same for one look, so that a file being written is not read half. Thread: one.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace millrace::server {

class FileWatch {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  explicit FileWatch(std::vector<std::string> paths) : paths_(std::move(paths)), seen_(look()), told_(seen_) {}

  bool changed(TimePoint now) {
    if (paths_.empty() || now < next_) return false;
    next_ = now + std::chrono::seconds(1);
    std::vector<Stamp> stamps = look();
    bool still = stamps == seen_;
    seen_ = stamps;
    if (!still || seen_ == told_) return false;
    told_ = std::move(stamps);
    return true;
  }

 private:
  using Stamp = std::tuple<uint64_t, int64_t, int64_t, int64_t>;  // inode, size, seconds, nanoseconds
  std::vector<Stamp> look() const {
    std::vector<Stamp> out;
    for (const std::string& path : paths_) {
      struct stat info {};
      if (::stat(path.c_str(), &info) != 0) info = {};
      out.emplace_back(info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
    }
    return out;
  }

  std::vector<std::string> paths_;
  std::vector<Stamp> seen_;
  std::vector<Stamp> told_;
  TimePoint next_;
};

}  // namespace millrace::server
