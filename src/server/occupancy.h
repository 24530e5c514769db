// Occupancy: how many of something each name holds, with a bound. Thread: any.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

namespace millrace::server {

template <class Name>
class Occupancy {
 public:
  // False, and nothing changed, when the name holds `limit` already.
  bool enter(const Name& name, int64_t limit) {
    std::lock_guard lock(mutex_);
    int64_t& held = held_[name];
    if (held >= limit) return false;
    ++held;
    return true;
  }
  void leave(const Name& name) {
    std::lock_guard lock(mutex_);
    auto found = held_.find(name);
    if (found != held_.end() && --found->second <= 0) held_.erase(found);
  }

 private:
  std::mutex mutex_;
  std::map<Name, int64_t> held_;  // guarded by mutex_
};

}  // namespace millrace::server
