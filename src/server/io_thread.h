// IoThread: one event loop with the connections it owns, and the door through which the engine wakes them.
//  1. A session is known here from add_waiter() to remove_waiter(); only this thread looks at it. Instances number
//     their sessions each for itself: of two with one key both are woken, and one looks for nothing.
// Thread: notify() any; the rest this thread.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <mutex>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "instance/router.h"
#include "server/event.h"

namespace millrace::server {

class Connection;

class IoThread final : public instance::Notifier {
 public:
  boost::asio::io_context& context() { return context_; }

  void notify(std::span<const instance::SessionKey> keys) override;

  void add_waiter(instance::SessionKey key, Event& event) { waiters_.emplace(key, &event); }
  void remove_waiter(instance::SessionKey key, const Event& event);
  void add(Connection& connection) { connections_.insert(&connection); }
  void remove(Connection& connection) { connections_.erase(&connection); }
  // Lets every connection look at the server's state again.
  void wake_all();
  // Where any connection of this thread reads; used within one handler.
  std::array<char, 64 * 1024>& scratch() { return scratch_; }

 private:
  void deliver();

  std::unordered_multimap<instance::SessionKey, Event*> waiters_;
  std::set<Connection*> connections_;
  std::array<char, 64 * 1024> scratch_;
  std::mutex mutex_;
  std::vector<instance::SessionKey> pending_;  // guarded by mutex_
  bool posted_ = false;                        // guarded by mutex_; deliver() is on its way
  boost::asio::io_context context_{1};         // last: coroutines it still holds end before the rest
};

}  // namespace millrace::server
