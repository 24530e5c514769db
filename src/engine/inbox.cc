#include "engine/inbox.h"

#include <fmt/core.h>

#include <chrono>
#include <utility>

#include "base/macros.h"

namespace millrace::engine {

Result<void> Inbox::push_request(flow::GenerateRequest&& request) {
  {
    std::lock_guard lock(mutex_);
    uint64_t tokens = request.prompt.size();
    if (counts_.draining) {
      ++counts_.n_refused;
      return Error{ErrorCode::kDraining, "the server is shutting down and takes no new requests", ""};
    }
    bool full =
        counts_.n_requests >= max_requests_ || (counts_.n_requests > 0 && counts_.n_tokens + tokens > max_tokens_);
    if (full) {
      ++counts_.n_refused;
      return Error{ErrorCode::kQueueFull,
                   fmt::format("the queue is full: {} requests with {} prompt tokens wait, limits {} and {}",
                               counts_.n_requests, counts_.n_tokens, max_requests_, max_tokens_),
                   ""};
    }
    ++counts_.n_requests;
    ++counts_.n_accepted;
    counts_.n_tokens += tokens;
    counts_.n_forks_pending += request.n;
    flow::RequestId id = request.id;
    messages_.push_back({.kind = MessageKind::kSubmit, .id = id, .request = std::move(request)});
  }
  ready_.notify_one();
  return {};
}

void Inbox::push(Message&& message) {
  {
    std::lock_guard lock(mutex_);
    if (message.kind == MessageKind::kBeginDrain || message.kind == MessageKind::kStop) counts_.draining = true;
    messages_.push_back(std::move(message));
  }
  ready_.notify_one();
}

void Inbox::count_refusal() {
  std::lock_guard lock(mutex_);
  ++counts_.n_refused;
}

void Inbox::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  ready_.notify_one();
}

void Inbox::drain(std::vector<Message>& out) {
  out.clear();
  std::lock_guard lock(mutex_);
  out.swap(messages_);
  counts_.n_forks_pending = 0;
  woken_ = false;
}

void Inbox::leave_queue(uint64_t prompt_tokens) {
  std::lock_guard lock(mutex_);
  CHECK(counts_.n_requests > 0 && counts_.n_tokens >= prompt_tokens, "a request left the queue twice");
  --counts_.n_requests;
  counts_.n_tokens -= prompt_tokens;
}

void Inbox::wait(int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  auto ready = [&] { return woken_ || !messages_.empty(); };
  if (timeout_ns < 0) {
    ready_.wait(lock, ready);
  } else {
    ready_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), ready);
  }
}

InboxCounts Inbox::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

bool Inbox::empty() const {
  std::lock_guard lock(mutex_);
  return messages_.empty();
}

}  // namespace millrace::engine
