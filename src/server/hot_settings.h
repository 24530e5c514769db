// HotSettings: what a running server can be given anew (keys, some limits, the certificate). Whoever needs it takes the
// current one and keeps it for as long as it looks at it; a change makes a new one.
// Thread: any (immutable).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "server/auth.h"
#include "server/tls.h"

namespace millrace::server {

struct HotSettings {
  Keys keys;
  int64_t requests_per_key = 0;
  int64_t connections_per_ip = 0;
  std::shared_ptr<const TlsContext> tls;  // null: plain HTTP
};

class HotSlot {
 public:
  explicit HotSlot(HotSettings first) : current_(std::make_shared<const HotSettings>(std::move(first))) {}
  std::shared_ptr<const HotSettings> get() const {
    std::lock_guard lock(mutex_);
    return current_;
  }
  void set(HotSettings next) {
    auto made = std::make_shared<const HotSettings>(std::move(next));
    std::lock_guard lock(mutex_);
    current_ = std::move(made);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const HotSettings> current_;  // guarded by mutex_
};

}  // namespace millrace::server
