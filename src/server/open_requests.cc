#include "server/open_requests.h"

#include <span>
#include <utility>
#include <vector>

namespace millrace::server {

OpenRequests::Place::Place(OpenRequests& in, std::string id, OpenRequest& request)
    : in_(in), id_(std::move(id)), request_(&request) {
  std::lock_guard lock(in_.mutex_);
  in_.by_id_.emplace(id_, &request);
}

OpenRequests::Place::~Place() {
  std::lock_guard lock(in_.mutex_);
  auto [begin, end] = in_.by_id_.equal_range(id_);
  for (auto one = begin; one != end; ++one) {
    if (one->second != request_) continue;
    in_.by_id_.erase(one);
    return;
  }
}

// A notifier outlives its sessions, and drops keys it no longer knows.
size_t OpenRequests::abort_range(std::unique_lock<std::mutex> lock, ById::iterator begin, ById::iterator end,
                                 const Principal& who) {
  std::vector<std::pair<instance::Notifier*, instance::SessionKey>> told;
  for (auto one = begin; one != end; ++one) {
    OpenRequest& request = *one->second;
    const bool allowed = who.admin || request.tenant == who.tenant;
    if (allowed && !request.aborted.exchange(true)) told.emplace_back(request.notifier, request.key);
  }
  lock.unlock();
  for (auto [notifier, key] : told) notifier->notify(std::span(&key, 1));
  return told.size();
}

size_t OpenRequests::abort(std::string_view id, const Principal& who) {
  std::unique_lock lock(mutex_);
  auto [begin, end] = by_id_.equal_range(std::string(id));
  return abort_range(std::move(lock), begin, end, who);
}

size_t OpenRequests::abort_all() {
  std::unique_lock lock(mutex_);
  return abort_range(std::move(lock), by_id_.begin(), by_id_.end(), {.admin = true});
}

}  // namespace millrace::server
