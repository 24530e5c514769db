#include "server/io_thread.h"

#include <boost/asio/post.hpp>
#include <new>
#include <utility>

#include "server/connection.h"

namespace millrace::server {

void IoThread::notify(std::span<const instance::SessionKey> keys) {
  {
    std::lock_guard lock(mutex_);
    pending_.insert(pending_.end(), keys.begin(), keys.end());
    if (std::exchange(posted_, true)) return;
  }
  try {
    boost::asio::post(context_, [this] { deliver(); });
  } catch (const std::bad_alloc&) {
    std::lock_guard lock(mutex_);
    posted_ = false;  // the next one brings these keys, too
    throw;
  }
}

void IoThread::remove_waiter(instance::SessionKey key, const Event& event) {
  auto [begin, end] = waiters_.equal_range(key);
  for (auto one = begin; one != end; ++one) {
    if (one->second != &event) continue;
    waiters_.erase(one);
    return;
  }
}

void IoThread::deliver() {
  std::vector<instance::SessionKey> keys;
  {
    std::lock_guard lock(mutex_);
    keys.swap(pending_);
    posted_ = false;
  }
  for (instance::SessionKey key : keys) {
    auto [begin, end] = waiters_.equal_range(key);
    for (auto one = begin; one != end; ++one) one->second->set();
  }
}

void IoThread::wake_all() {
  for (Connection* connection : connections_) connection->event().set();
}

}  // namespace millrace::server
