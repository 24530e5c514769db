#include "server/io_thread.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "server/connection.h"

namespace millrace::server {

void IoThread::notify(std::span<const instance::SessionKey> keys) {
  {
    std::lock_guard lock(mutex_);
    pending_.insert(pending_.end(), keys.begin(), keys.end());
    if (std::exchange(posted_, true)) return;
  }
  boost::asio::post(context_, [this] { deliver(); });
}

void IoThread::deliver() {
  std::vector<instance::SessionKey> keys;
  {
    std::lock_guard lock(mutex_);
    keys.swap(pending_);
    posted_ = false;
  }
  for (instance::SessionKey key : keys) {
    auto found = waiters_.find(key);
    if (found != waiters_.end()) found->second->set();
  }
}

void IoThread::wake_all() {
  for (Connection* connection : connections_) connection->event().set();
}

}  // namespace millrace::server
