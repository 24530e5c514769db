// BlockingNotifier: lets a plain thread wait for the mail of its session. Thread: any.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <span>

#include "instance/instance.h"

namespace millrace::instance {

class Instance::BlockingNotifier final : public Notifier {
 public:
  void notify(std::span<const SessionKey> keys) override {
    {
      std::lock_guard lock(mutex_);
      ready_.insert(keys.begin(), keys.end());
    }
    changed_.notify_all();
  }
  void wait(SessionKey key) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ready_.erase(key) > 0; });
  }
  void forget(SessionKey key) {
    std::lock_guard lock(mutex_);
    ready_.erase(key);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<SessionKey> ready_;  // guarded by mutex_
};

}  // namespace millrace::instance
